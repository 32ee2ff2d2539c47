"""Finds the suite: beside the library in a checkout, inside it when installed from a wheel.

`plimsoll run` starts pytest on it from any folder, and passes on its own arguments in an environment variable, so that
evidence and next steps show the command that a person typed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent
SHIPPED: Final = PACKAGE / "shipped_suite"
"""Where a wheel has the suite: `acceptance/`, `fixtures/`, conftest.py, markers.ini, and pyproject.toml with pytest's
settings. In a checkout there is no such folder."""
CHECKS: Final = "acceptance"
"""The folder of the checks in the suite."""
PYTEST, RUN = "pytest", "plimsoll run"
"""The two programs that start a run."""
REPORT_DIR: Final = "--report-dir"
"""The option that says where runs lie."""
_VARIABLE: Final = "PLIMSOLL_RUN"
_STOPPING: Final = ("--exitfirst", "--sw", "--stepwise")
_FLAGS: Final = re.compile(r"-[xvqsl]+")
"""Options of one letter and no value, which may stand together: `-xv`."""


def suite_root() -> Path | None:
    """The folder that holds the suite; None where only the library is installed."""
    found = (root for root in (SHIPPED, PACKAGE.parent) if (root / "conftest.py").is_file())
    return next((root for root in found if (root / CHECKS).is_dir()), None)


def program_here() -> str:
    """The program that runs the suite from any command's next step: `pytest` finds it in the folder of a checkout
    alone."""
    return PYTEST if suite_root() == Path.cwd() else RUN


def telling(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for the pytest that this process becomes, with the arguments that a person gave."""
    return {**environment, _VARIABLE: json.dumps({"pid": os.getpid(), "arguments": list(arguments)})}


def called_with(given: Sequence[object], environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The program that a person called, and its arguments; `given` are those of this pytest. Every process that a run
    starts inherits the variable, even another pytest, so it counts for one process only.
    """
    try:
        told = json.loads(environment.get(_VARIABLE, ""))
    except ValueError:
        told = None
    if not isinstance(told, dict) or told.get("pid") != os.getpid() or not isinstance(told.get("arguments"), list):
        return PYTEST, tuple(map(str, given))
    return RUN, tuple(map(str, told["arguments"]))


def asked_paths(given: Sequence[str], root: Path, here: Path) -> list[str]:
    """The paths to run, from those that pytest found on the command line of `plimsoll run` in the folder `here`: those
    that a person named, else the folder of all checks."""
    everything = str(root / CHECKS)
    return [_in_suite(one, root, here) for one in given if one != everything] or [everything]


def _in_suite(path: str, root: Path, here: Path) -> str:
    """Resolves a path that is written as reports write it, `acceptance/test_load.py::test_x`, in any folder. For a
    folder of that name in the current one, write `./acceptance`."""
    file = path.partition("::")[0]
    if file.partition("/")[0] != CHECKS or here == root:
        return path
    return path if (here / file).exists() and not (root / file).exists() else str(root / path)


def going_on(arguments: Sequence[str]) -> list[str]:
    """The arguments without what has pytest stop early: -x, --maxfail and their kind."""
    kept = []
    given = iter(with_folder_attached(arguments))
    for argument in given:
        if argument == "--maxfail":
            next(given, None)
        elif argument in _STOPPING or argument.startswith("--maxfail="):
            continue
        elif _FLAGS.fullmatch(argument):
            rest = argument.replace("x", "")
            kept += [] if rest == "-" else [rest]
        else:
            kept.append(argument)
    return kept


def with_folder_attached(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--report-dir=FOLDER` for `--report-dir FOLDER`: once it is there, pytest takes a folder that
    stands alone for one of tests, and for its root."""
    joined: list[str] = []
    given = iter(arguments)
    for argument in given:
        folder = next(given, None) if argument == REPORT_DIR else None
        joined.append(argument if folder is None else f"{argument}={folder}")
    return joined


def command(program: str, *arguments: str) -> str:
    """A command line for a shell."""
    return f"{program} {shlex.join(arguments)}".rstrip()
