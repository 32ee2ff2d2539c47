"""Reads charts over time off a page as a person does: places within the drawing, by the figures beside its axes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from plimsoll.units import to_base

Place = Callable[[float], float]


@dataclass(kw_only=True)
class DrawnChart:
    """What a reader sees; seconds and bytes, but for `lanes`."""

    title: str
    lines: dict[str, list[list[tuple[float, float]]]] = field(default_factory=dict)
    """Of each line its runs of samples."""
    levels: dict[str, float] = field(default_factory=dict)
    bands: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    lanes: dict[str, float] = field(default_factory=dict)
    """How far each band lies below 0, in bytes."""
    end: float
    top: float
    told: str
    """What a pointer shows where no script runs."""


def drawn_charts(page: str) -> list[DrawnChart]:
    """Every chart over time of a page or a part of one."""
    return [_drawn(figure) for figure in re.findall(r'<figure class="plimsoll-lines".*?</figure>', page)]


def _drawn(figure: str) -> DrawnChart:
    box = re.search(r'viewBox="(\S+) (\S+) (\S+) (\S+)"', figure)
    title = re.search(r"<figcaption>(.*?)</figcaption>", figure)
    told = re.search(r"<title>(.*?)</title>", figure)
    assert box is not None
    assert title is not None
    assert told is not None
    left, upper, width, height = map(float, box.groups())
    second = _axis(figure, "left", left, width)
    count = _axis(figure, "top", upper, height)
    unit = re.search(r'data-unit="(\w+)"', figure)
    assert unit is not None
    told_there = to_base(-upper / 1000, unit[1])[0], (left + width) / 1000
    assert told_there == pytest.approx((count(upper), second(left + width)), rel=2e-3), "a script tells other figures"
    chart = DrawnChart(title=title[1], end=second(left + width), top=count(upper), told=told[1])
    for name, path in re.findall(r'<path class="(\w+)" d="(.*?)"/>', figure):
        runs = [_points(run) for run in path.split("M")[1:]]
        read = [[(second(x), count(y)) for x, y in run] for run in runs]
        if "H" not in path:
            chart.lines[name] = read
        elif read[0][0][1] >= 0:
            chart.levels[name] = read[0][0][1]
            assert [x for x, _ in read[0]] == [0.0, chart.end], "a level holds from edge to edge"
        else:
            chart.bands[name] = [(start, end) for (start, _), (end, _) in read]
            [chart.lanes[name]] = {-run[0][1] for run in read}
    return chart


def _points(run: str) -> list[tuple[float, float]]:
    """The points of a path without its first M: `0-5L3-7`, `0 5H3`."""
    found: list[tuple[float, float]] = []
    for letter, x, y in re.findall(r"([LH]?)(-?\d+)(?:[ ]?(-?\d+))?", run):
        found.append((float(x), found[-1][1] if letter == "H" else float(y)))
    return found


def _axis(figure: str, side: str, low: float, length: float) -> Place:
    """From a place in the drawing to what stands there, by the first and the last text beside the axis."""
    ticks = re.findall(rf'<span style="{side}:([\d.]+)%">([\d.,]+) (\w+)</span>', figure)
    assert len(ticks) > 1, "an axis cannot be read by one figure"
    values = [(float(part) / 100, to_base(float(count.replace(",", "")), unit)[0]) for part, count, unit in ticks]
    (first, least), (last, most) = values[0], values[-1]
    for part, value in values:
        assert abs((part - first) / (last - first) - (value - least) / (most - least)) < 1e-3, "not evenly spaced"
    return lambda place: least + ((place - low) / length - first) / (last - first) * (most - least)
