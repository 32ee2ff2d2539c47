"""Shared parts of all pictures: the frame, and markers that make categories distinct without colour.

Nothing is told by colour alone: marks and hatches are a second code, for print and for colour-blind eyes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.figure import Figure

from plimsoll.present.document import Picture
from plimsoll.present.drawing import CATEGORIES, drawing, small_svg
from plimsoll.present.foreign_text import one_line
from plimsoll.statistics.interval import Interval
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.pairs import most_precise
from plimsoll.uncertainty.scores import TokenScore

MARKS: Final = ("o", "s", "^", "D", "v", "P")
HATCHES: Final = ("", "////", "\\\\\\\\", "xxxx", "----", "||||")

_LONGEST_LABEL: Final = 40


def draw(name: str, title: str, how: str, size: tuple[float, float], fill: Callable[[Figure], None]) -> Picture:
    """A picture of so many inches that `fill` draws into."""
    with drawing(*size, salt=f"uncertainty {name}") as figure:
        fill(figure)
        element = small_svg(figure, title)
    return Picture(name=name, title=title, how=how, element=element, width=size[0])


def missing(name: str, title: str, how: str, reason: str) -> Picture:
    """A picture that too little was measured for."""
    return Picture(name=name, title=title, how=how, missing=f"not measured: {reason}")


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


def points(results: Sequence[Result], score: TokenScore) -> list[Point]:
    """Those that have an AUROC of the score."""
    return [
        Point(result=result, value=found.value, interval=found.interval)
        for result in results
        for found in (result.aurocs[score],)
        if found.value is not None and found.interval is not None
    ]


def model_points(results: Sequence[Result], score: TokenScore) -> list[Point]:
    """Those of each model's least quantized variant."""
    return points(most_precise(results), score)
