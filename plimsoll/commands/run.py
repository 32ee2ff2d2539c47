"""`plimsoll run`: the suite from any folder, with any option of pytest."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plimsoll.errors import PlimsollError
from plimsoll.extras import require
from plimsoll.suite import CHECKS, SHIPPED, suite_root, telling

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY: Final = "ask the checks: pytest on this suite, from any folder"
_DESCRIPTION: Final = """\
Run pytest on the suite that came with this installation. Everything after `run` is pytest's: `plimsoll run -m tiny`,
`plimsoll run -m gpu8b -n auto`, `plimsoll run --markers`; `plimsoll run -- --help` lists its options. In a checkout it
is the same as `pytest` there. Reports land in ./reports unless --report-dir=FOLDER or plimsoll_reports says otherwise.
Exit status: 0 ACCEPTED, 1 REJECTED, 2 interrupted, or the suite is not installed, 5 nothing was planned, 6 INCOMPLETE,
else pytest's own."""
_NEEDED: Final = ("pytest", "pytest_html", "pytest_benchmark", "xdist")


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, for its help: its options are pytest's."""
    parser = subparsers.add_parser(
        "run",
        help=_SUMMARY,
        description=_DESCRIPTION,
        usage="plimsoll run [any option of pytest] [acceptance/test_FILE.py ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=lambda _: start([]))


def start(arguments: Sequence[str]) -> int:
    """Become pytest. Raises PlimsollError where the suite, or what it needs, is not installed."""
    require("suite", "running the checks", _NEEDED)
    root = suite_root()
    if root is None:
        raise PlimsollError("the suite is not in this installation; install plimsoll again")
    given = [argument for argument in arguments if argument != "--"]
    command = [sys.executable, "-m", "pytest", *pytest_arguments(given, root, Path.cwd())]
    sys.stdout.flush()
    os.execve(sys.executable, command, telling(given, os.environ))  # noqa: S606  our own interpreter, our own suite


def pytest_arguments(given: Sequence[str], root: Path, here: Path) -> list[str]:
    """What pytest is called with in the folder `here`, for the suite under `root`."""
    paths = [_in_suite(argument, root, here) for argument in given]
    chosen = [path for path, argument in zip(paths, given, strict=True) if path != argument or _is_check(argument)]
    settings = ["-c", str(root / "pyproject.toml"), f"--rootdir={root}"]
    if root == SHIPPED:
        # What runs leave belongs to the person, not into the installation.
        settings += [f"--report-dir={here / 'reports'}", "-o", f"cache_dir={here / '.pytest_cache'}"]
    return [*settings, *paths, *([] if chosen else [str(root / CHECKS)])]


def _is_check(argument: str) -> bool:
    return argument.partition("/")[0] == CHECKS


def _in_suite(argument: str, root: Path, here: Path) -> str:
    """A file of checks as reports name it, `acceptance/test_load.py::test_x`, wherever the person stands."""
    if not _is_check(argument) or (here / argument.partition("::")[0]).exists():
        return argument
    return str(root / argument)
