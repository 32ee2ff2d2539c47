"""The libraries that comparing needs and nothing else does: a prerequisite, with the command that installs it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from plimsoll.errors import PlimsollError

_STATISTICS: Final = ("numpy", "scipy")
_PICTURES: Final = ("matplotlib",)


def require_statistics() -> None:
    """Raise PlimsollError unless numpy and scipy are installed. They are not imported: that takes half a second."""
    _require(_STATISTICS, "comparing runs")


def require_pictures() -> None:
    """Raise PlimsollError unless matplotlib is installed."""
    _require(_PICTURES, "the pictures of a comparison")


def _require(names: tuple[str, ...], purpose: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise PlimsollError(
            f"{purpose} needs {' and '.join(missing)}, which {verb} not installed; "
            "install the extra: pip install 'plimsoll[compare]'"
        )
