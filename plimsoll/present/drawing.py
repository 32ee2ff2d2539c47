"""Draws with matplotlib, as SVG that follows the reader's light or dark page and holds its text as text.

matplotlib knows only fixed colours. So each role has a colour of its own that nothing else uses, and in the finished
SVG it becomes the page's variable of that role.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from plimsoll.present.colours import COLOURS
from plimsoll.present.document import Svg
from plimsoll.present.foreign_text import printable
from plimsoll.present.small_svg import small

INK: Final = "#010101"
FAINT: Final = "#020202"
RULE: Final = "#030303"
GOOD: Final = "#040404"
BAD: Final = "#050505"
NEAR: Final = "#060606"
GAP: Final = "#070707"

CATEGORIES: Final = ("#090101", "#090202", "#090303", "#090404", "#090505", "#090606")
"""Colours that tell things apart that are neither good nor bad, one for each."""

VARIABLES: Final = {
    INK: "--ink",
    FAINT: "--faint",
    RULE: "--rule",
    GOOD: "--good",
    BAD: "--bad",
    NEAR: "--near",
    GAP: "--gap",
    **{colour: f"--cat-{number}" for number, colour in enumerate(CATEGORIES, start=1)},
}
"""Colour in a drawing -> variable of the page."""

_SETTINGS: Final[dict[Any, object]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
}

_SIZE: Final = re.compile(r' (width|height)="[^"]*"')


@contextmanager
def drawing(width: float, height: float, salt: str) -> Iterator[Figure]:
    """A figure of so many inches to draw on; `salt` keeps the ids of several pictures on one page apart."""
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": salt}), warnings.catch_warnings():
        # Text stays text, so it is the reader's font that must have the letter, not matplotlib's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure) -> Svg:
    """The figure as an SVG element for a page that has the variables. Call it while `drawing` is open.

    The same figure gives the same bytes.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, bbox_inches=_whole(figure)
    )
    text = buffer.getvalue()
    element = text[text.index("<svg") :].strip()
    for colour, variable in VARIABLES.items():
        element = element.replace(colour, f"var({variable})")
    # Its size is the page's business: the view box keeps the proportions.
    head, rest = element.split(">", maxsplit=1)
    return Svg(_SIZE.sub("", head) + ">" + rest)


def _whole(figure: Figure) -> Bbox:
    """The figure, in inches, and what its layout found no room for: a long name over a small panel."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    inked = figure.get_tightbbox()
    return Bbox.from_extents(min(0, inked.x0), min(0, inked.y0), max(width, inked.x1), max(height, inked.y1))


def small_svg(figure: Figure, title: str = "") -> Svg:
    """The same in fewer bytes, for a page that has many of them; with a title for a pointer on it."""
    element = small(svg(figure))
    return Svg(element.replace(">", f"><title>{escape(printable(title))}</title>", 1) if title else element)


def svg_file(element: Svg) -> str:
    """The element as an SVG file that stands alone, in light, dark and print."""
    head, rest = element.split(">", maxsplit=1)
    return f"{head}><style>{COLOURS}svg {{ background: var(--paper); }}</style>{rest}\n"
