"""The libraries that analysing uncertainty needs and nothing else does: a prerequisite, with the command that installs
it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from plimsoll.errors import PlimsollError

_NEEDED: Final = ("numpy", "scipy", "matplotlib")


def why_no_analysis() -> str | None:
    """What is missing and how to get it; None where all is there. Nothing is imported: that takes half a second."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"uncertainty needs {' and '.join(missing)}, which {verb} not installed; "
        "install the extra: pip install 'plimsoll[uncertainty]'"
    )


def require_analysis() -> None:
    """Raise PlimsollError where a library is missing."""
    if (missing := why_no_analysis()) is not None:
        raise PlimsollError(missing)
