"""The normal distribution and Student's t, of arrays of numbers.

scipy.special has them too, and to import it takes a fifth of a comparison; the tests hold these against it.
`robust.py` has the tail of Student's t for one number, without numpy.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll.statistics.robust import student_tail

Numbers = NDArray[np.float64]

_NORMAL: Final = NormalDist()
_NEAR: Final = 1e-9
"""The last step of Newton's method; what is left has twice as many digits."""
_MOST_STEPS: Final = 60


def normal_below(values: ArrayLike) -> Numbers:
    """The chance that a normal value (mean 0, deviation 1) is below each of these."""
    scaled = -np.asarray(values, dtype=np.float64) / math.sqrt(2.0)
    return np.array([0.5 * math.erfc(one) for one in scaled.flat]).reshape(scaled.shape)


def normal_quantiles(chances: ArrayLike) -> Numbers:
    """The values below which a normal value (mean 0, deviation 1) lies with these chances, each between 0 and 1.

    Raises ValueError for 0, 1 and what is no chance.
    """
    wanted = np.asarray(chances, dtype=np.float64)
    return np.array([_NORMAL.inv_cdf(chance) for chance in wanted.flat]).reshape(wanted.shape)


def student_above(values: ArrayLike, freedom: int) -> Numbers:
    """The chance that Student's t with so many degrees of freedom is above each of these values.

    As precise for the smallest chances as for large ones.
    """
    t = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        squares = t**2
    near = squares * (freedom + 2.0) < 3.0 * freedom  # where the continued fraction of the tail converges slowly
    tail = np.empty(t.shape)
    tail[~near] = 0.5 * _incomplete_beta(freedom / (freedom + squares[~near]), freedom / 2.0, 0.5)
    tail[near] = 0.5 - 0.5 * _incomplete_beta(squares[near] / (freedom + squares[near]), 0.5, freedom / 2.0)
    return np.where(t < 0.0, 1.0 - tail, tail)


@lru_cache(maxsize=1024)
def student_quantile(above: float, freedom: int) -> float:
    """The value, above 0, that Student's t exceeds with this chance, which is below one half.

    Newton's method in logarithms: there the tail is concave, so that every step but the first comes from above.
    """
    distance = -_NORMAL.inv_cdf(above)
    height = math.exp(math.lgamma((freedom + 1) / 2.0) - math.lgamma(freedom / 2.0)) / math.sqrt(freedom * math.pi)
    for _ in range(_MOST_STEPS):
        tail = student_tail(distance, freedom)
        density = height * (1.0 + distance**2 / freedom) ** (-(freedom + 1) / 2.0)
        step = math.log(tail / above) * tail / (distance * density)
        distance *= math.exp(step)
        if abs(step) < _NEAR:
            break
    return distance


def _incomplete_beta(x: Numbers, a: float, b: float) -> Numbers:
    """The regularised incomplete beta function by its continued fraction (Numerical Recipes, 6.4), from its end."""
    rest = np.ones(x.shape)
    # As many pairs of terms as give eleven digits where the fraction converges slowest, with up to 1,000 degrees.
    for m in range(15 + math.isqrt(round(8.0 * max(a, b))), 0, -1):
        rest = 1.0 - (a + m) * (a + b + m) / ((a + 2 * m) * (a + 2 * m + 1.0)) * x / rest
        rest = 1.0 + m * (b - m) / ((a + 2 * m - 1.0) * (a + 2 * m)) * x / rest
    rest = 1.0 - (a + b) / (a + 1.0) * x / rest
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.log(a)
    with np.errstate(divide="ignore"):  # the logarithm of 0 is the tail of an infinite distance
        return np.asarray(np.exp(front + a * np.log(x) + b * np.log1p(-x)) / rest)
