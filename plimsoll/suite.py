"""Finds the suite: beside the library in a checkout, inside it where it was installed from a wheel.

`plimsoll run` starts pytest on it from any folder, and tells it by a variable what it was called with, so that a run's
evidence and the next steps that it names have the command that a person typed.
"""

from __future__ import annotations

import json
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
_VARIABLE: Final = "PLIMSOLL_RUN"


def suite_root() -> Path | None:
    """The folder that holds the suite; None where only the library is here."""
    found = (root for root in (SHIPPED, PACKAGE.parent) if (root / "conftest.py").is_file())
    return next((root for root in found if (root / CHECKS).is_dir()), None)


def telling(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a pytest that `plimsoll run` starts with these arguments of a person's."""
    return {**environment, _VARIABLE: json.dumps(list(arguments))}


def called_with(given: Sequence[object], environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The program that a person called, and with which arguments, for a pytest that was `given` these."""
    told = environment.get(_VARIABLE)
    if told is None:
        return PYTEST, tuple(map(str, given))
    try:
        arguments = json.loads(told)
    except ValueError:
        arguments = None
    if not isinstance(arguments, list):
        return PYTEST, tuple(map(str, given))
    return RUN, tuple(map(str, arguments))


def command(program: str, *arguments: str) -> str:
    """A command line for a shell."""
    return f"{program} {shlex.join(arguments)}".rstrip()
