"""A variant's memory over time as a small picture, over bands that say what the host was doing.

Import it only where matplotlib is installed.
"""

from __future__ import annotations

from typing import Final

from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from plimsoll.present.drawing import FAINT, GAP, GOOD, INK, NEAR, drawing, svg
from plimsoll.present.small_svg import small
from plimsoll.report.timeline import Timeline

WORK: Final = {"loading": GAP, "generating": GOOD, "scoring": NEAR, "training": FAINT}
"""What a host does -> the colour of its band. The bands lie at different heights as well, in this order."""

_WIDTH, _HEIGHT = 4.3, 1.55
"""Inches; the page scales it."""
_LEFT, _RIGHT, _ABOVE, _BELOW = 0.55, 0.1, 0.08, 0.4
_LANES: Final = 0.2
"""The part of the height that the bands take, below the memory."""


def timeline_chart(timeline: Timeline, salt: str) -> str:
    """The picture as an SVG element; `salt` names it apart from all others of the page."""
    step, unit = (1e9, "GB") if timeline.highest >= 1e9 else (1e6, "MB")
    with drawing(_WIDTH, _HEIGHT, salt, arranged=False) as picture:
        axes = picture.add_axes(
            (
                _LEFT / _WIDTH,
                _BELOW / _HEIGHT,
                (_WIDTH - _LEFT - _RIGHT) / _WIDTH,
                (_HEIGHT - _ABOVE - _BELOW) / _HEIGHT,
            )
        )
        top = 1.08 * timeline.highest
        floor = -_LANES * top
        for stretch in timeline.stretches:
            lane = list(WORK).index(stretch.doing)
            upper = floor * (lane + 0.1) / len(WORK)
            lower = floor * (lane + 0.9) / len(WORK)
            start, end = stretch.start, max(stretch.end, stretch.start + 0.004 * timeline.seconds)
            axes.fill([start, end, end, start], [lower, lower, upper, upper], color=WORK[stretch.doing], linewidth=0)
        for host in timeline.hosts:
            axes.plot([at for at, _ in host], [rss for _, rss in host], color=INK, linewidth=1.2)
        axes.plot([0, timeline.seconds], [0, 0], color=FAINT, linewidth=0.5)
        axes.set_xlim(0, max(timeline.seconds, 1e-3))
        axes.set_ylim(floor, top)
        axes.tick_params(length=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / step:g}" if value >= 0 else ""))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("seconds", labelpad=1)
        axes.set_ylabel(unit, labelpad=2)
        return small(svg(picture))
