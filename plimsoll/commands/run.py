"""`plimsoll run`: the suite from any folder, with any option of pytest."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plimsoll.errors import PlimsollError
from plimsoll.extras import require
from plimsoll.suite import CHECKS, PACKAGE, SHIPPED, suite_root, telling

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY: Final = "ask the checks: pytest on this suite, from any folder"
_DESCRIPTION: Final = """\
Run pytest on the suite that came with this installation. Everything after `run` is pytest's: `plimsoll run -m tiny`,
`plimsoll run -m gpu8b -n auto`, `plimsoll run --markers`; `plimsoll run -- --help` lists its options. In a checkout it
is the same as `pytest` there. Reports land in ./reports, of a checkout in its own, unless --report-dir=FOLDER says
otherwise.
Exit status: 0 ACCEPTED, 1 REJECTED, 2 interrupted, or the suite is not installed, 5 nothing was planned, 6 INCOMPLETE,
else pytest's own."""
_ADDED: Final = "PYTEST_ADDOPTS"
"""Options that pytest adds to each command line."""
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
    _refuse_open_quotes()
    given = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    command = [sys.executable, "-m", "pytest", *pytest_arguments(given, root, Path.cwd())]
    sys.stdout.flush()
    os.execve(sys.executable, command, _environment(given))  # noqa: S606  our own interpreter, our own suite


def _refuse_open_quotes() -> None:
    """pytest would answer with a traceback, and with the status of REJECTED."""
    try:
        shlex.split(os.environ.get(_ADDED, ""))
    except ValueError as error:
        raise PlimsollError(f"{_ADDED} cannot be read ({error}): mend its quotes, or unset it") from None


def _environment(given: Sequence[str]) -> dict[str, str]:
    environment = telling(given, os.environ)
    if Path.cwd() == PACKAGE.parent:
        return environment
    # A random.py in the folder where a person stands must be no module, neither here nor in a worker.
    return {**environment, "PYTHONSAFEPATH": "1"}


def pytest_arguments(given: Sequence[str], root: Path, here: Path) -> list[str]:
    """What pytest is called with in the folder `here`, for the suite under `root`.

    The folder of all checks is always named, so that pytest finds the suite's conftest.py. Only pytest can tell a path
    from the value of an option; `asked_paths` takes the folder away where it finds a path.
    """
    settings = ["-c", str(root / "pyproject.toml"), f"--rootdir={root}"]
    if root == SHIPPED:
        # What runs leave belongs to the person, not into the installation.
        settings += ["-o", f"plimsoll_reports={here / 'reports'}", "-o", f"cache_dir={here / '.pytest_cache'}"]
    return [*settings, *given, str(root / CHECKS)]
