"""Statistics of ranks and pairs: the rank test, its effect size, the ratios of all pairs, and the noise of rounds.

Times are skewed and have outliers, so nothing here assumes a normal distribution.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Samples = NDArray[np.float64]

_MOST_COUNTED: Final = 12 * 10**7
"""Steps of counting up to which the exact distribution of the rank test is used: sixty rounds a side, or five against
fifteen hundred."""
_MOST_PAIRED: Final = 300
"""Rounds of a side whose every ratio to every round of the other is looked at."""


def exact_p(base: Samples, other: Samples) -> Samples:
    """The two-sided p-value of Mann and Whitney's test along the last axis, for independent rounds.

    Exact, also with ties, as long as that is not too much to count; beyond, by the normal distribution with its
    correction for ties.
    """
    pooled = np.concatenate([base, other], axis=-1)
    ordered = np.sort(pooled, axis=-1)
    tied = (np.diff(ordered, axis=-1) == 0).any(axis=-1)
    sizes = sorted((base.shape[-1], other.shape[-1]))
    is_counted = 2 * sizes[0] ** 2 * sum(sizes) ** 2 <= _MOST_COUNTED
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.asarray(stats.mannwhitneyu(base, other, axis=-1, method="asymptotic").pvalue, dtype=np.float64)
    p = np.where(ordered[..., 0] == ordered[..., -1], 1.0, p)
    if not is_counted:
        return p
    whole = ~np.asarray(tied)
    flat_base, flat_other = base.reshape(-1, base.shape[-1]), other.reshape(-1, other.shape[-1])
    flat, whole = np.atleast_1d(p).reshape(-1).copy(), np.atleast_1d(whole).reshape(-1)
    if whole.any():
        flat[whole] = stats.mannwhitneyu(flat_base[whole], flat_other[whole], axis=-1, method="exact").pvalue
    for i in np.flatnonzero(~whole):
        flat[i] = _tied_p(flat_base[i], flat_other[i])
    return flat.reshape(np.shape(p))


def _tied_p(base: Samples, other: Samples) -> float:
    """The share, of all ways to deal the rounds to the sides, whose rank sum lies as far from the middle."""
    fewer, more = (base, other) if base.size <= other.size else (other, base)
    ranks = np.rint(2.0 * stats.rankdata(np.concatenate([fewer, more]))).astype(np.int64)
    middle = fewer.size * (ranks.size + 1)
    furthest = int(np.sort(ranks)[-fewer.size :].sum())
    ways = np.zeros((fewer.size + 1, furthest + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : furthest + 1 - rank]
    distances = np.abs(np.arange(furthest + 1) - middle)
    observed = abs(int(ranks[: fewer.size].sum()) - middle)
    return float(ways[-1, distances >= observed].sum() / ways[-1].sum())


def pair_quantiles(base: Samples, other: Samples, tail: Samples) -> tuple[Samples, Samples, Samples]:
    """Median, lower and upper quantile of all differences of a round of `other` and one of `base` (last axis).

    `tail` is the share of the differences that lies outside on each side. Of very many rounds as many quantiles as
    differ by less than a thousandth stand for all.
    """
    base, other = _thinned(base), _thinned(other)
    differences = np.sort((other[..., None, :] - base[..., :, None]).reshape(*base.shape[:-1], -1), axis=-1)
    last = differences.shape[-1] - 1
    place = np.clip(np.floor(np.asarray(tail) * (last + 1)).astype(np.int64) - 1, 0, last)
    low = np.take_along_axis(differences, place[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(differences, last - place[..., None], axis=-1)[..., 0]
    return np.median(differences, axis=-1), low, high


def _thinned(rounds: Samples) -> Samples:
    count = rounds.shape[-1]
    if count <= _MOST_PAIRED:
        return rounds
    places = np.rint((np.arange(_MOST_PAIRED) + 0.5) / _MOST_PAIRED * count - 0.5).astype(np.int64)
    return np.asarray(np.sort(rounds, axis=-1)[..., places])


def smallest_p(base_rounds: int, other_rounds: int) -> float:
    """The smallest p-value that the rank test can give with so many rounds: that of two sides without overlap."""
    return min(1.0, 2 / math.comb(base_rounds + other_rounds, base_rounds))


def cliffs_delta(base: Samples, other: Samples) -> float:
    """The chance that a round of `other` is longer than one of `base`, less the chance that it is shorter: -1 to 1."""
    ordered = np.sort(base)
    shorter, not_longer = (np.searchsorted(ordered, other, side=side) for side in ("left", "right"))
    return float((shorter + not_longer - base.size).sum()) / (base.size * other.size)


def log_noise(*sides: Samples) -> float:
    """The standard deviation of the logarithms of rounds around their side's median, which outliers do not move.

    From the median of the absolute deviations, with a correction for the few rounds that there are; the usual standard
    deviation where more than half of the rounds are the same to the last digit.
    """
    logs = [np.log(side) for side in sides]
    deviations = np.concatenate([np.abs(side - np.median(side)) for side in logs])
    fewest = min(side.size for side in logs)
    robust = float(np.median(deviations)) / float(stats.norm.ppf(0.75)) * fewest / (fewest - 0.8)
    return robust or math.sqrt(sum(float(side.var()) for side in logs) / len(logs))
