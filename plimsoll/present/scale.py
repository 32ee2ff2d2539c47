"""The scale of a chart: where values have their places, and which round values are written along it.

Of figures that lie far apart it is logarithmic. A value, a limit and a prediction have places on one scale, in
thousandths of its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from plimsoll.units import step_of

LENGTH: Final = 1000
"""Parts of a scale."""
_MANY_TIMES: Final = 30
"""From here on figures lie too far apart for a linear scale."""
_TICKS: Final = 5
_NEAR: Final = 3
"""Times the largest value, up to where a limit or a prediction stretches the scale."""
_EDGE: Final = 1.06
"""The end of a linear scale, as a multiple of what is largest on it."""
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_RATIOS: Final = (1.0, 0.95, 1.05, 0.9, 1.1, 0.8, 1.25, 0.67, 1.5, 0.5, 2.0, 0.2, 5.0, 0.1, 10.0, 0.05, 20.0)
"""Which ticks of ratios are wanted most, if there is room."""
_LARGEST_RATIO: Final = 20.0
_LEAST_RATIO: Final = 1.12
"""Ratios that a scale reaches to at least: what is the same shall look the same."""
_APART: Final = 90
"""Parts of a scale that lie between two texts below which they would touch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where a chart begins and ends, in base units; a logarithmic one never begins at 0."""

    low: float
    high: float
    is_log: bool

    def holds(self, value: float | None) -> TypeGuard[float]:
        """True for what is neither absent nor off the scale."""
        return value is not None and self.low <= value <= self.high

    def place(self, value: float) -> int:
        """The place of a value, within the scale."""
        if self.is_log:
            part = (math.log(max(value, self.low)) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(LENGTH * min(max(part, 0.0), 1.0))


def scale_of(values: Sequence[float], beside: Iterable[float] = ()) -> Scale:
    """The scale on which every value has a place, and what stands `beside` them (limits, predictions) where it lies
    near: one that lies far from all values would press them together. It is logarithmic where values lie far apart."""
    others = [value for value in beside if math.isfinite(value)]
    if all(value > 0 for value in values) and max(values) > _MANY_TIMES * min(values):
        near = [one for one in others if min(values) / _NEAR <= one <= max(values) * _NEAR]
        return Scale(low=_power(min([*values, *near]) * 0.999), high=max([*values, *near]) * 1.5, is_log=True)
    largest = max(map(abs, values))
    told = [*values, *(one for one in others if abs(one) <= _NEAR * largest or not largest), 0.0]
    low, high = min(told) * _EDGE, max(told) * _EDGE
    return Scale(low=low, high=high if high > low else low + 1.0, is_log=False)


def ratio_scale(ratios: Iterable[float]) -> Scale:
    """The scale of ratios, with 1 in its middle: twice and half lie equally far from it."""
    far = max((max(ratio, 1.0 / ratio) for ratio in ratios if ratio > 0.0), default=1.0)
    edge = min(max(far, _LEAST_RATIO) ** 1.08, _LARGEST_RATIO)
    return Scale(low=1.0 / edge, high=edge, is_log=True)


def ticks(scale: Scale, unit: str, text: Callable[[float], str]) -> list[tuple[float, str]]:
    """Round values of the scale with what is written there; values are in a base unit."""
    if scale.is_log:
        powers = range(math.ceil(math.log10(scale.low)), math.floor(math.log10(scale.high)) + 1)
        every = max(1, math.ceil(len(powers) / (_TICKS + 1)))
        # Whole minutes and hours are no powers of ten.
        return [
            (10.0**power, f"{10**power:,} s" if unit == "s" and power > 0 else text(10.0**power))
            for power in powers[::every]
        ]
    step_unit = step_of(max(abs(scale.low), abs(scale.high)), unit)[1]
    span = (scale.high - scale.low) / step_unit
    rough = span / _TICKS
    step = next(s for s in _STEPS if s * _power(rough) >= rough) * _power(rough) * step_unit
    first = math.ceil(scale.low / step)
    return [(n * step, text(n * step)) for n in range(first, math.floor(scale.high / step) + 1)]


def ratio_ticks(scale: Scale) -> list[tuple[float, str]]:
    """Round ratios of such a scale: 1, and to both sides of it those that stand apart."""
    kept: list[float] = []
    for ratio in _RATIOS:
        is_apart = all(abs(scale.place(ratio) - scale.place(one)) >= _APART for one in kept)
        if scale.holds(ratio) and is_apart:
            kept.append(ratio)
    return [(ratio, f"{ratio:g}") for ratio in sorted(kept)]


def _power(value: float) -> float:
    return float(10.0 ** math.floor(math.log10(value)))
