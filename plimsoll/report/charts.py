"""The pictures of report.html that matplotlib draws: a variant's memory over time, over bands that say what its host
was doing, and a GPU's memory as four accounts of it.

Import it only where matplotlib is installed. Forms tell the lines apart, not colours alone.
"""

from __future__ import annotations

from typing import Final

from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from plimsoll.present.document import Svg
from plimsoll.present.drawing import BAD, FAINT, GAP, GOOD, INK, NEAR, drawing, small_svg
from plimsoll.report.gpu_memory import GpuUse
from plimsoll.report.timeline import Timeline

_WIDTH: Final = 4.3
"""Inches; the page scales it. Text is 9 points high at this width, and so as high as the page's own on a phone."""
WORK: Final = {"loading": GAP, "generating": GOOD, "scoring": NEAR, "training": FAINT}
"""What a host does -> the colour of its band. The bands lie at different heights as well, in this order."""

_TIMELINE: Final = 1.55
"""Inches of height."""
_MARGINS: Final = (0.55, 0.1, 0.08, 0.4)
"""Inches on the left, on the right, above and below."""
_LANES: Final = 0.2
"""The part of the height that the bands take, below the memory."""


def timeline_chart(timeline: Timeline, salt: str) -> Svg:
    """The picture as an SVG element; `salt` names it apart from all others of the page."""
    left, right, above, below = _MARGINS
    step, unit = (1e9, "GB") if timeline.highest >= 1e9 else (1e6, "MB")
    with drawing(_WIDTH, _TIMELINE, salt, arranged=False) as picture:
        axes = picture.add_axes(
            (
                left / _WIDTH,
                below / _TIMELINE,
                (_WIDTH - left - right) / _WIDTH,
                (_TIMELINE - above - below) / _TIMELINE,
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
        return small_svg(picture)


_LINES: Final = (
    ("device", 1, FAINT, ":"),
    ("process", 2, INK, "-."),
    ("allocated", 3, GOOD, "-"),
    ("reserved", 4, GAP, "--"),
)
"""Of each line its name, its place in a point, its colour and its form, which tells it apart without colours."""


def gpu_memory_chart(use: GpuUse, salt: str) -> Svg:
    """One GPU's memory over time: device, process, allocator, and the prediction as a level. The form tells lines
    apart; `salt` names the picture apart from all others of the page."""
    left, right, above, below = _MARGINS
    known = [value for point in use.series for value in point[1:] if value is not None]
    top = 1.08 * max([*known, use.predicted or 0, 1])
    step, unit = (1e9, "GB") if top >= 1e9 else (1e6, "MB")
    with drawing(_WIDTH, _TIMELINE, salt, arranged=False) as picture:
        box = (
            left / _WIDTH,
            below / _TIMELINE,
            (_WIDTH - left - right) / _WIDTH,
            (_TIMELINE - above - below) / _TIMELINE,
        )
        axes = picture.add_axes(box)
        seconds = max(use.series[-1][0], 1e-3)
        for _, place, colour, form in _LINES:
            points = [(point[0], value) for point in use.series if (value := point[place]) is not None]
            if points:
                axes.plot([at for at, _ in points], [value for _, value in points], color=colour, linestyle=form)
        if use.predicted is not None:
            axes.plot([0, seconds], [use.predicted, use.predicted], color=BAD, linewidth=0.7)
        axes.set_xlim(0, seconds)
        axes.set_ylim(0, top)
        axes.tick_params(length=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / step:g}"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("seconds: device dotted, process dash-dotted, reserved dashed, allocated solid", labelpad=1)
        axes.set_ylabel(unit, labelpad=2)
        return small_svg(picture)
