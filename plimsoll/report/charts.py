"""The pictures of report.html: a bullet chart of each variant's figure on top of what is documented, predicted and
impossible; and a variant's memory over time, over bands that say what the host was doing.

Import it only where matplotlib is installed. Forms tell the marks apart, not colours alone; the value stands beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from plimsoll.judge.judgement import Outcome
from plimsoll.metrics import METRICS
from plimsoll.present.document import Svg
from plimsoll.present.drawing import BAD, FAINT, GAP, GOOD, INK, NEAR, RULE, drawing, small_svg
from plimsoll.present.foreign_text import one_line
from plimsoll.report.gpu_memory import GpuUse
from plimsoll.report.models import Panel, VariantFigure
from plimsoll.report.timeline import Timeline

_WIDTH: Final = 4.3
"""Inches; the page scales it. Text is 9 points high at this width, and so as high as the page's own on a phone."""
_ROW: Final = 0.26
_ABOVE, _BELOW = 0.06, 0.42
_RIGHT: Final = 0.95
_LETTER: Final = 0.066
"""Inches that a letter of a label takes."""
_LONGEST_LABEL: Final = 18
_MANY_TIMES: Final = 30
"""From here on figures lie too far apart for a linear scale."""
_MARKS: Final = {
    Outcome.PASS: (GOOD, "✓"),
    Outcome.MARGINAL: (NEAR, "~"),
    Outcome.FAIL: (BAD, "✗"),
    Outcome.UNSET: (BAD, "✗"),
    None: (INK, ""),
}
_STEPS: Final = {
    "bytes": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")),
    "s": ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")),
}


def bullet_chart(panel: Panel, salt: str) -> Svg:
    """The picture as an SVG element; `salt` names it apart from all others of the page."""
    figures, rows = panel.figures, len(panel.figures)
    labels = [row_label(figure, figures) for figure in figures]
    left = 0.12 + _LETTER * max(map(len, labels))
    height = _ABOVE + _BELOW + _ROW * rows
    with drawing(_WIDTH, height, salt, arranged=False) as picture:
        axes = picture.add_axes(
            (left / _WIDTH, _BELOW / height, (_WIDTH - left - _RIGHT) / _WIDTH, _ROW * rows / height)
        )
        low, high, is_log = _scale(figures)
        metric_unit = METRICS[figures[0].metric].unit
        step, unit = _step(high, metric_unit)
        for place, figure in enumerate(figures):
            _draw(axes, place, figure, low, high)
            colour, sign = _MARKS[figure.outcome]
            axes.annotate(
                f"{short(figure.measured[-1], figure)} {sign}" if figure.measured else "not measured",
                (1.03, place),
                xycoords=("axes fraction", "data"),
                va="center",
                color=colour if figure.measured else FAINT,
            )
        axes.set_xscale("log" if is_log else "linear")
        axes.set_xlim(low, high)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks(range(rows), labels)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(LogLocator(numticks=5) if is_log else MaxNLocator(4))
        axes.xaxis.set_minor_locator(NullLocator())
        # Powers of ten are each in a unit of their own: 0.000001 GB says nothing.
        label = (lambda value, _: _tick(value, metric_unit)) if is_log else (lambda value, _: f"{value / step:g}")
        axes.xaxis.set_major_formatter(FuncFormatter(label))
        axes.set_xlabel("logarithmic" if is_log else unit, labelpad=1)
        axes.spines["left"].set_visible(False)
        return small_svg(picture)


def row_label(figure: VariantFigure, among: Sequence[VariantFigure]) -> str:
    """The variant without its model, and for times the state of the page cache, where both are shown."""
    name = figure.variant.partition("/")[2] or figure.variant
    if len({other.metric for other in among}) > 1:
        name += f", {figure.metric.partition('_')[0]}"
    return one_line(name, _LONGEST_LABEL)


def short(value: float, figure: VariantFigure) -> str:
    """A value in three digits with its unit: `39.7 GB`."""
    step, unit = _step(value, METRICS[figure.metric].unit)
    scaled = value / step
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)))) if scaled else 0
    return f"{scaled:.{min(digits, 2)}f} {unit}"


def _draw(axes: Axes, place: int, figure: VariantFigure, low: float, high: float) -> None:
    """One row: the impossible at the back, on it what documents say and what is predicted, the measured in front."""

    def band(start: float, end: float, half: float, colour: str, alpha: float) -> None:
        start, end = max(start, low), min(end, high)
        if end > start:
            axes.fill(
                [start, end, end, start], [place - half] * 2 + [place + half] * 2, color=colour, alpha=alpha, lw=0
            )

    bounds = figure.bounds
    if bounds.least:
        band(low, bounds.least, 0.5, BAD, 0.16)
    if bounds.most is not None:
        band(bounds.most, high, 0.5, BAD, 0.16)
    for said in {(d.low, d.high): d for d in figure.documented if not d.disputed}.values():
        band(_or(said.low, low), _or(said.high, high), 0.3, FAINT, 0.22)
    ends = {end for d in figure.documented if not d.disputed for end in (d.low, d.high) if end is not None}
    for end in sorted(end for end in ends if low <= end <= high):
        axes.plot([end, end], [place - 0.3, place + 0.3], color=FAINT, linewidth=1)
    if bounds.expected is not None and low <= bounds.expected <= high:
        axes.plot([bounds.expected], [place], "D", markersize=5, color=GAP, markeredgewidth=0)
    colour, _ = _MARKS[figure.outcome]
    for value in figure.measured:
        axes.plot([value, value], [place - 0.38, place + 0.38], color=colour, linewidth=3)
    axes.plot([low, high], [place + 0.5] * 2, color=RULE, linewidth=0.5)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _scale(figures: Sequence[VariantFigure]) -> tuple[float, float, bool]:
    """Where the axis begins and ends, and whether it is logarithmic. What cannot be is shown as far as it is near."""
    told = [value for figure in figures for value in _told(figure) if value > 0]
    if not told:
        return 0.0, 1.0, False
    edges = [edge for figure in figures for edge in (figure.bounds.least, figure.bounds.most) if edge]
    near = [edge for edge in edges if min(told) / 3 <= edge <= 3 * max(told)]
    smallest, largest = min([*told, *near]), max([*told, *near])
    if largest > _MANY_TIMES * smallest:
        return smallest / 2, largest * 2, True
    return 0.0, largest * 1.15, False


def _told(figure: VariantFigure) -> list[float]:
    documented = chain.from_iterable((d.low, d.high) for d in figure.documented if not d.disputed)
    known = [*figure.measured, figure.bounds.expected, *documented]
    return [value for value in known if value is not None and math.isfinite(value)]


def _tick(value: float, unit: str) -> str:
    """A power of ten: `100 MB`, `10 ms`; whole minutes and hours are no powers of ten."""
    step, name = (1.0, "s") if unit == "s" and value >= 1.0 else _step(value, unit)
    return f"{value / step:g} {name}"


def _step(value: float, unit: str) -> tuple[float, str]:
    steps = _STEPS[unit]
    return next(((step, name) for step, name in steps if abs(value) >= step), steps[-1])


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
