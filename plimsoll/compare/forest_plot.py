"""The picture of a comparison: each time's ratio with its interval, against the band in which all is the same.

Words are told apart by the form of the mark, not by colour alone.
"""

from __future__ import annotations

from typing import Final

from matplotlib.ticker import MaxNLocator, NullLocator

from plimsoll.compare.document import MOST_DRAWN, ORDER
from plimsoll.compare.result import TimeRow, Versus
from plimsoll.compare.rule import Change, Rule
from plimsoll.present.document import Svg
from plimsoll.present.drawing import BAD, FAINT, GAP, GOOD, INK, NEAR, drawing, svg
from plimsoll.present.foreign_text import one_line

_MARKS: Final = {
    Change.SLOWER: (">", BAD),
    Change.FASTER: ("<", GOOD),
    Change.SAME: ("o", GAP),
    Change.TOO_FEW: ("x", NEAR),
}
_LONGEST_LABEL: Final = 48


def forest_plot(versus: Versus, rule: Rule) -> Svg:
    """The picture as an SVG element; needs at least one time."""
    rows = sorted(versus.times, key=lambda row: (ORDER.index(row.word), -abs(row.ratio - 1.0)))[:MOST_DRAWN]
    with drawing(8.0, 1.2 + 0.2 * len(rows), salt=versus.other.name) as figure:
        axes = figure.subplots()
        axes.axvspan(1.0 / (1.0 + rule.margin), 1.0 + rule.margin, color=FAINT, alpha=0.12, linewidth=0)
        axes.axvline(1.0, color=INK, linewidth=0.8)
        for place, row in enumerate(rows):
            mark, colour = _MARKS[row.word]
            if row.interval is not None:
                axes.plot([row.interval.low, row.interval.high], [place, place], color=colour, linewidth=1.5)
            axes.plot([row.ratio], [place], marker=mark, color=colour, linestyle="none", markersize=6)
        for word in ORDER:
            if versus.words[word]:
                mark, colour = _MARKS[word]
                axes.plot([], [], marker=mark, color=colour, linestyle="none", label=word.value)
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(f"ratio of medians, right of 1 is slower; the band is {rule.margin:.0%}")
        axes.grid(axis="x")
        figure.legend(loc="outside upper right", ncols=len(ORDER))
        return svg(figure)


def _label(row: TimeRow) -> str:
    name = row.base.variant or row.base.cell
    return one_line(f"{name} {row.base.metric}", _LONGEST_LABEL)
