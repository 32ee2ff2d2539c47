"""Starts the command line, or says in one line that another package named `plimsoll` is found in its place.

The public index has one, and a folder on PYTHONPATH may be called so. This module has the name of the distribution, so
that it is found all the same; it imports nothing of the library before it has looked. It may lie elsewhere than the
library: an installation that leads to a checkout has a copy of its own.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

_OURS = "the acceptance suite that is run before a node"
"""What the library says of itself."""
_LEFT_OF_OURS = "release.sha256"
"""A file of the library that another package does not have, and leaves where it is installed over ours."""
_USAGE_ERROR = 2


def other_package() -> str | None:
    """Where another package of the library's name is found, with the next step; None where the library is."""
    spec = find_spec("plimsoll")
    if spec is None:
        return "the library is not found: install plimsoll-gpu again"
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    first = Path(places[0]).resolve()
    own = first / "__init__.py"
    if own.is_file() and _OURS in own.read_text("utf-8", "replace"):
        return None
    if (first / _LEFT_OF_OURS).is_file():
        return (
            f"another package named plimsoll was installed over this one, at {first}: pip uninstall plimsoll "
            "plimsoll-gpu, and install plimsoll-gpu again"
        )
    return (
        f"another package named plimsoll, at {first}, is found in place of this one: take its folder off PYTHONPATH, "
        "or pip uninstall plimsoll and install plimsoll-gpu again"
    )


def main() -> int:
    """Run the command line; exit status 2 where another package is found in place of the library."""
    if (other := other_package()) is not None:
        sys.stderr.write(f"plimsoll: error: {other}\n")
        return _USAGE_ERROR
    from plimsoll.cli import main as command_line

    return command_line()
