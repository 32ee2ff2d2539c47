"""Robust statistics of one value among many: the median, the spread that outliers do not move, and how far out a value
lies. Needs nothing but the standard library.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from statistics import median
from typing import Final

MAD_TO_SIGMA: Final = 1.4826
"""Of a normal distribution: its standard deviation over the median of the absolute deviations."""
MAD_EFFICIENCY: Final = 0.37
"""How many values tell as much by the usual standard deviation as one does by the median of absolute deviations."""

_PRECISION: Final = 1e-12
_MOST_STEPS: Final = 300
_TINY: Final = 1e-300
_STEPS: Final = 48
"""So dense that a straight line between the logarithms of two is off by less than one in a thousand."""


def spread(values: Sequence[float], middle: float) -> float:
    """The standard deviation as the median of absolute deviations tells it; `values` are not empty."""
    return MAD_TO_SIGMA * median([abs(value - middle) for value in values])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered values lies, between neighbours by a straight line."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def student_tail(t: float, freedom: float) -> float:
    """The chance that Student's t with these degrees of freedom, which need not be a whole number, is above `t`."""
    if t < 0.0:
        return 1.0 - student_tail(-t, freedom)
    if math.isinf(t):
        return 0.0
    return 0.5 * _incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)


def tail_ratio(freedom: float) -> float:
    """Of Student's t: the absolute value that 5 % exceed over the one that half of all do. 2.906 for a normal one."""
    return _folded_quantile(0.05, freedom) / _folded_quantile(0.5, freedom)


def freedom_of(ratio: float, least: float, most: float) -> float:
    """The degrees of freedom whose `tail_ratio` this is, between `least` and `most`; to one in a thousand."""
    # From the lightest tail, whose ratio is the least, to the heaviest.
    table = _tail_ratios(least, most)
    at = bisect_left(table, ratio, key=itemgetter(0))
    if at == 0:
        return most
    if at == len(table):
        return least
    (below, lighter), (above, heavier) = table[at - 1], table[at]
    return float(lighter * (heavier / lighter) ** (math.log(ratio / below) / math.log(above / below)))


@lru_cache(maxsize=8)
def _tail_ratios(least: float, most: float) -> list[tuple[float, float]]:
    """The `tail_ratio` of degrees of freedom from `most` down to `least`, in equal ratios, each with its degrees."""
    steps = (most * (least / most) ** (step / _STEPS) for step in range(_STEPS + 1))
    return [(tail_ratio(freedom), freedom) for freedom in steps]


def _folded_quantile(above: float, freedom: float) -> float:
    low, high = 0.0, 1.0
    while 2.0 * student_tail(high, freedom) > above:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if 2.0 * student_tail(middle, freedom) > above else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, 6.4)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(1.0 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    c, d = 1.0, 1.0 / _not_zero(1.0 - (a + b) * x / (a + 1.0))
    result = d
    for m in range(1, _MOST_STEPS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / _not_zero(1.0 + numerator * d)
            c = _not_zero(1.0 + numerator / c)
            result *= d * c
        if abs(d * c - 1.0) < _PRECISION:
            break
    return front * result


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
