"""How likely noise alone makes a GPU or a node as slow as it was found.

Noise is not believed to be normal. Few values tell their spread badly, GPUs of one node share its heat and its host,
and some noise has tails: each of them lowers the degrees of freedom of the t distribution that a z is held against.
Where there are thousands of figures, their own tail is continued as well, and the larger chance counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from plimsoll.statistics.robust import MAD_EFFICIENCY, freedom_of, quantile, spread, student_tail

_RESOLUTION: Final = 0.001
"""The least spread that is believed, as a part of the value: some clocks count no finer."""
_LIGHTEST: Final = 12.0
"""Degrees of freedom of the tail that is assumed where none is seen: a few hundred values cannot show a normal one."""
_HEAVIEST: Final = 1.0
_ASSUMED: Final = 4.0
"""The same where there are too few values to see any tail."""
_SEEN_FROM: Final = 30
_CONTINUED_FROM: Final = 500
_TAIL: Final = 0.02
_SHARED: Final = 0.5
"""How far the GPUs of a node are believed to go together where there are too few nodes to tell."""
_FEW_NODES: Final = 6
_ORDINARY: Final = 1.75
"""A z that no distribution here makes rarer than 5 %, the chance of a false alarm in a whole fleet: its own decides
nothing, and takes long for all of one."""


def chance_of_noise(nodes: Sequence[Sequence[float]], tail: NoiseTail) -> Callable[[float], float]:
    """What tells the chance of a z as far out to the slow side, among values that lie so far out on each node."""
    few = MAD_EFFICIENCY * (_independent(nodes) - 1.0)
    freedom = 1.0 / (1.0 / max(few, 0.5) + 1.0 / tail.freedom)

    def chance(z: float) -> float:
        return 1.0 if z <= _ORDINARY else max(student_tail(z, freedom), tail.continued.chance(z))

    return chance


def scale_of(values: Sequence[float], middle: float) -> float:
    """The standard deviation of logarithms by the median of absolute deviations, and no less than clocks resolve."""
    return max(spread(values, middle), _RESOLUTION)


def _tail_freedom(noise: Sequence[float]) -> float:
    """Degrees of freedom of the noise, from how far out its twentieth part lies, and no lighter than can be shown."""
    if len(noise) < _SEEN_FROM:
        return _ASSUMED
    ordered = sorted(map(abs, noise))
    half = quantile(ordered, 0.5)
    if half <= 0.0:
        return _HEAVIEST
    # As heavy as it may be: more than a standard error above what is seen, which with few values is much.
    ratio = quantile(ordered, 0.95) / half * (1.0 + 2.0 / math.sqrt(len(ordered)))
    return freedom_of(ratio, _HEAVIEST, _LIGHTEST)


@dataclass(frozen=True, slots=True)
class _ContinuedTail:
    """The tail of many values, continued as a power of the distance (Hill)."""

    share: float
    begins: float
    power: float

    @classmethod
    def of(cls, noise: Sequence[float]) -> _ContinuedTail:
        """None to speak of where there are too few values."""
        if len(noise) < _CONTINUED_FROM:
            return cls(0.0, 1.0, 1.0)
        ordered = sorted(map(abs, noise), reverse=True)
        count = int(_TAIL * len(ordered))
        begins = ordered[count]
        mean = sum(math.log(value / begins) for value in ordered[:count]) / count
        # One standard error heavier than it looks.
        return cls(count / len(ordered), begins, (1.0 - 1.0 / math.sqrt(count)) / max(mean, 0.01))

    def chance(self, z: float) -> float:
        """Of a value as far out on one side; zero where nothing is known, and within what is no tail."""
        return 0.0 if z <= self.begins else self.share / 2.0 * (z / self.begins) ** -self.power


@dataclass(frozen=True, slots=True)
class NoiseTail:
    """How heavy the tail of a noise is."""

    freedom: float
    """Degrees of freedom, as `_tail_freedom` tells them."""
    continued: _ContinuedTail

    @classmethod
    def of(cls, noise: Sequence[float]) -> NoiseTail:
        """As its z show it; positive is slower."""
        # Far out on the slow side lie faults, which are no noise. Noise makes fast as well as slow: there it is alone.
        return cls(_tail_freedom(noise), _ContinuedTail.of([z for z in noise if z < 0.0]))


def _independent(nodes: Sequence[Sequence[float]]) -> float:
    """As how many values these count: GPUs of one node share its heat, its host and its day."""
    total = sum(map(len, nodes))
    several = total / len(nodes)
    if several <= 1.0 or len(nodes) == 1:
        return float(total)
    return total / (1.0 + (several - 1.0) * _shared(nodes))


def _shared(nodes: Sequence[Sequence[float]]) -> float:
    """The part of the variance that the GPUs of a node share, by medians."""
    if len(nodes) < _FEW_NODES:
        return _SHARED
    middles = [median(outs) for outs in nodes]
    between = scale_of(middles, median(middles)) ** 2
    residuals = [out - middle for outs, middle in zip(nodes, middles, strict=True) for out in outs]
    within = scale_of(residuals, 0.0) ** 2
    each = len(residuals) / len(nodes)
    own = max(0.0, between - 1.57 * within / each)  # the median of several has so much of their variance left
    return own / (own + within)
