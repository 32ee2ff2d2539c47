"""What every picture here shares: its frame, and colours that tell categories apart for everybody.

The colours are those of Okabe and Ito, darkened for white paper and lightened for the dark until each has a contrast
of 3 or more. Nothing is told by colour alone: marks and hatches are a second code, for print and for colour-blind eyes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from matplotlib.figure import Figure

from plimsoll.present.colours import COLOURS
from plimsoll.present.drawing import drawing, svg
from plimsoll.present.foreign_text import one_line
from plimsoll.present.small_svg import small
from plimsoll.statistics.interval import Interval
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.pairs import most_precise
from plimsoll.uncertainty.scores import Score

CATEGORIES: Final = ("#090101", "#090202", "#090303", "#090404", "#090505", "#090606")
"""Colours in a drawing, one for each category; in the finished SVG they are variables of the page."""
MARKS: Final = ("o", "s", "^", "D", "v", "P")
HATCHES: Final = ("", "////", "\\\\\\\\", "xxxx", "----", "||||")

CATEGORY_COLOURS: Final = """
:root { --cat-1: #0072b2; --cat-2: #c14f00; --cat-3: #007a58; --cat-4: #a8487f; --cat-5: #7d6400; --cat-6: #555555; }
@media (prefers-color-scheme: dark) { :root { --cat-1: #56b4e9; --cat-2: #ff9a4d; --cat-3: #2fc79a; --cat-4: #e39bc4;
  --cat-5: #f0e442; --cat-6: #c9d1d9; } }
@media print { :root { --cat-1: #0072b2; --cat-2: #c14f00; --cat-3: #007a58; --cat-4: #a8487f; --cat-5: #7d6400;
  --cat-6: #555555; } }
"""
"""The variables, for a page or an SVG file that stands alone."""

_LONGEST_LABEL: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture, or the reason why there is none."""

    name: str
    """Of its file, without `.svg`."""
    title: str
    how: str
    """How to read it, in a sentence or two."""
    element: str | None
    """An SVG element for a page that has the variables; None where `reason` says what is missing."""
    reason: str = ""
    width: float = 0.0
    """Inches that it was drawn for: at that width its text is as large as that of a page."""

    @property
    def file_text(self) -> str:
        """The SVG file, standing alone in light, dark and print; empty for a picture that was not drawn."""
        if self.element is None:
            return ""
        head, rest = self.element.split(">", maxsplit=1)
        return f"{head}><style>{COLOURS}{CATEGORY_COLOURS}svg {{ background: var(--paper); }}</style>{rest}\n"

    @property
    def text(self) -> str:
        """What stands beside it, or in its place."""
        return self.how if self.element is not None else f"not measured: {self.reason}"


def draw(name: str, title: str, how: str, size: tuple[float, float], fill: Callable[[Figure], None]) -> Picture:
    """A picture of so many inches that `fill` draws into."""
    with drawing(*size, salt=f"uncertainty {name}") as figure:
        fill(figure)
        element = small(svg(figure))
    element = element.replace(">", f"><title>{escape(title)}</title>", 1)
    for number, colour in enumerate(CATEGORIES, start=1):
        element = element.replace(colour, f"var(--cat-{number})")
    return Picture(name=name, title=title, how=how, element=element, width=size[0])


def missing(name: str, title: str, how: str, reason: str) -> Picture:
    """A picture that too little was measured for."""
    return Picture(name=name, title=title, how=how, element=None, reason=reason)


def label(text: str) -> str:
    """Foreign text as the label of an axis or a legend. A dollar sign would not start a formula: that is off."""
    return one_line(text, _LONGEST_LABEL)


def category(index: int) -> tuple[str, str, str]:
    """Colour, mark and hatch; beyond six they come again in other combinations."""
    turn = index // len(CATEGORIES)
    place = index % len(CATEGORIES)
    shifted = (place + turn) % len(MARKS)
    return CATEGORIES[place], MARKS[shifted], HATCHES[shifted]


def families(results: Sequence[Result]) -> list[str]:
    """In the order in which they were asked; a family keeps its colour in every picture."""
    return list(dict.fromkeys(result.asked.asking.family for result in results))


def datasets(results: Sequence[Result]) -> list[str]:
    """In the order in which they were asked."""
    return list(dict.fromkeys(result.asked.dataset for result in results))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A result whose AUROC was measured."""

    result: Result
    value: float
    interval: Interval


def points(results: Sequence[Result], score: Score) -> list[Point]:
    """Those that have an AUROC of the score."""
    return [
        Point(result=result, value=found.value, interval=found.interval)
        for result in results
        for found in (result.aurocs[score],)
        if found.value is not None and found.interval is not None
    ]


def model_points(results: Sequence[Result], score: Score) -> list[Point]:
    """Those of each model's least quantized variant."""
    return points(most_precise(results), score)
