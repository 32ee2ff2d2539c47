"""matplotlib, which draws a page's pictures, and which a report must do without where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec


def why_no_pictures() -> str | None:
    """Why nothing can be drawn here, and the command that mends it; None where pictures can be drawn."""
    if find_spec("matplotlib") is not None:
        return None
    return "No pictures: matplotlib is not installed (pip install 'plimsoll[pictures]'). The tables hold every figure."
