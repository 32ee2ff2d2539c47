"""Memory over time as a chart of the page: its scales, its round values, and each sample as whole milliseconds and
thousandths of the unit that is read there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from plimsoll.present.document import Line, LineChart
from plimsoll.present.scale import Scale, ticks
from plimsoll.units import format_brief, step_of

_EDGE: Final = 1.06
"""The upper edge, as a multiple of what is highest."""
_PARTS: Final = 1000
"""Of a second, and of a unit."""
_SHORTEST: Final = 0.1
"""Seconds that the axis reaches to at least: its places are whole milliseconds."""
_LEAST: Final = 0.008
"""The part of the whole that a band takes at least: shorter ones would not be seen."""

Samples = Sequence[tuple[float, int | None]]
"""Seconds and bytes; None where they were not asked for, or could not be read."""
Stretches = Sequence[tuple[float, float]]
"""From which second to which."""


def memory_chart(
    title: str,
    *,
    alt: str,
    exact: str,
    seconds: float,
    lines: Iterable[tuple[str, Sequence[Samples]]],
    levels: Iterable[tuple[str, int]] = (),
    bands: Mapping[str, Stretches] | None = None,
) -> LineChart:
    """Bytes over `seconds`: of each line its runs of samples, which are joined over those without an answer."""
    runs = {name: [run for samples in found if (run := _known(samples))] for name, found in lines}
    constant = dict(levels)
    known = [value for found in runs.values() for run in found for _, value in run]
    highest = max([*known, *constant.values()], default=0)
    unit, step = step_of(highest, "bytes")
    scale = Scale(low=0.0, high=_EDGE * max(highest, 1), is_log=False)
    time = Scale(low=0.0, high=max(seconds, _SHORTEST), is_log=False)

    def figure(value: float) -> int:
        return round(_PARTS * value / step)

    def at(second: float) -> int:
        return round(_PARTS * max(second, 0.0))

    return LineChart(
        title=title,
        alt=alt,
        exact=exact,
        unit=unit,
        end=at(time.high),
        top=figure(scale.high),
        times=tuple((at(second), text) for second, text in ticks(time, "s", _time)),
        ticks=tuple((figure(value), text) for value, text in ticks(scale, "bytes", _size)),
        lines=tuple(
            Line(name=name, runs=tuple(tuple((at(second), figure(value)) for second, value in run) for run in found))
            for name, found in runs.items()
            if found
        ),
        levels=tuple((name, figure(value)) for name, value in constant.items()),
        bands=tuple(
            (name, tuple((at(start), at(max(end, start + _LEAST * time.high))) for start, end in stretches))
            for name, stretches in (bands or {}).items()
        ),
    )


def _known(samples: Samples) -> list[tuple[float, int]]:
    return [(second, value) for second, value in samples if value is not None]


def _time(second: float) -> str:
    # Steps of round seconds are no round minutes.
    return f"{second:,.0f} s" if second >= 120 else format_brief(second, "s")


def _size(count: float) -> str:
    return format_brief(count, "bytes")
