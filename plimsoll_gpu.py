"""Starts the command line, or says in one line that another package named `plimsoll` is found in its place.

The public index has one, and a folder on PYTHONPATH may be called so. This module has the name of the distribution, so
that it is found all the same; it imports nothing of the library before it has looked.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

_OURS = Path(__file__).resolve().parent / "plimsoll"
_USAGE_ERROR = 2


def other_package() -> str | None:
    """Where another package of the library's name is found, with the next step; None where the library is."""
    spec = find_spec("plimsoll")
    places = [] if spec is None else [Path(place).resolve() for place in spec.submodule_search_locations or ()]
    if _OURS in places[:1]:
        text = _OURS.joinpath("__init__.py").read_text("utf-8")
        if "the acceptance suite that is run before a node" in text:
            return None
        return (
            f"another package named plimsoll was installed over this one, at {_OURS}: pip uninstall plimsoll "
            "plimsoll-gpu, and install this one again"
        )
    other = places[0] if places else spec.origin if spec is not None else "nowhere"
    return (
        f"another package named plimsoll, at {other}, is found before this one, at {_OURS}: take its folder off "
        "PYTHONPATH, or pip uninstall plimsoll and install this one again"
    )


def main() -> int:
    """Run the command line; exit status 2 where another package is found in place of the library."""
    if (other := other_package()) is not None:
        sys.stderr.write(f"plimsoll: error: {other}\n")
        return _USAGE_ERROR
    from plimsoll.cli import main as command_line

    return command_line()
