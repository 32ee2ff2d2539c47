"""The statistics of a comparison, from scipy where it has them: rank test, effect size, interval.

Times are skewed, drift and have outliers, so nothing here assumes a normal distribution. Everything random is seeded by
what it is computed for: the same files give the same figures, in whatever order they are compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from plimsoll.statistics.interval import Interval

Samples = NDArray[np.float64]

_EXACT_UP_TO: Final = 60
"""Rounds of a side up to which the exact distribution of the rank test is used; beyond it the normal one is as good."""
_PERMUTATIONS: Final = 9999
_RESAMPLES: Final = 5000


def rank_test(base: Samples, other: Samples, random: np.random.Generator) -> Samples:
    """The two-sided p-value of Mann and Whitney's test, along the last axis.

    Exact up to sixty rounds a side, also with ties: there by permutation, because the usual correction for ties is too
    bold with few rounds. Beyond, the normal distribution is as good.
    """
    is_large = max(base.shape[-1], other.shape[-1]) > _EXACT_UP_TO
    method = "asymptotic" if is_large else "exact"
    p = np.asarray(stats.mannwhitneyu(base, other, axis=-1, method=method).pvalue, dtype=np.float64)
    pooled = np.sort(np.concatenate([base, other], axis=-1), axis=-1)
    if is_large:
        # Without any spread at all scipy divides zero by zero.
        return np.where(pooled[..., 0] == pooled[..., -1], 1.0, p)
    tied = (np.diff(pooled, axis=-1) == 0).any(axis=-1)
    if not tied.any():
        return p
    p = np.atleast_1d(p).copy()
    rows = zip(*(np.atleast_2d(s)[np.atleast_1d(tied)] for s in (base, other)), strict=True)
    p[np.atleast_1d(tied)] = [_tied_rank_test(a, b, random) for a, b in rows]
    return p.reshape(tied.shape)


def _tied_rank_test(base: Samples, other: Samples, random: np.random.Generator) -> float:
    if np.unique(np.concatenate([base, other])).size == 1:
        return 1.0
    method = stats.PermutationMethod(n_resamples=_PERMUTATIONS, rng=random)
    return float(stats.mannwhitneyu(base, other, method=method).pvalue)


def smallest_p(base_rounds: int, other_rounds: int) -> float:
    """The smallest p-value that the rank test can give with so many rounds: that of two sides without overlap."""
    return min(1.0, 2 / math.comb(base_rounds + other_rounds, base_rounds))


def cliffs_delta(base: Samples, other: Samples) -> float:
    """The chance that a round of `other` is longer than one of `base`, less the chance that it is shorter: -1 to 1."""
    ordered = np.sort(base)
    shorter, not_longer = (np.searchsorted(ordered, other, side=side) for side in ("left", "right"))
    return float((shorter + not_longer - base.size).sum()) / (base.size * other.size)


def ratio_interval(base: Samples, other: Samples, confidence: float, random: np.random.Generator) -> Interval:
    """The percentile bootstrap interval of the ratio of medians, other over base."""
    medians = [_resampled_medians(side, random) for side in (base, other)]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(medians[1] / medians[0], [tail, 1.0 - tail])
    return Interval(low=float(low), high=float(high))


def _resampled_medians(side: Samples, random: np.random.Generator) -> Samples:
    """Medians of as many resamples as _RESAMPLES, without drawing the resamples: of a hundred thousand rounds, as
    pytest-benchmark takes of a fast function, five thousand would not fit into memory.

    A resample is `ordered[floor(n * u)]` for n uniform values u, so its median lies at the median of those, which has a
    beta distribution; for an even n the second of the two middle values is drawn given the first.
    """
    ordered, n = np.sort(side), side.size
    first = (n + 1) // 2
    u = random.beta(first, n + 1 - first, _RESAMPLES)
    medians = ordered[(u * n).astype(np.int64)]
    if n % 2 == 1:
        return medians
    v = u + (1.0 - u) * random.beta(1, n - first, _RESAMPLES)
    return np.asarray((medians + ordered[np.minimum((v * n).astype(np.int64), n - 1)]) / 2.0)


def widened(interval: Interval, ratio: float, factor: float) -> Interval:
    """The interval with its distance from the ratio, as logarithms, multiplied by the factor."""
    low, high = (ratio * (bound / ratio) ** factor for bound in (interval.low, interval.high))
    return Interval(low=low, high=high)


def deflated(p: float, variance_factor: float) -> float:
    """The p-value if the variance is this many times what the rounds alone show."""
    if variance_factor == 1.0:
        return p
    z = float(stats.norm.isf(p / 2.0)) / math.sqrt(variance_factor)
    return 2.0 * float(stats.norm.sf(z))


def within_reach(smallest: Sequence[float], alpha: float) -> list[bool]:
    """Which tests could reach significance at all beside each other (Tarone, 1990).

    `smallest` are the p-values that each could give at best. A test that cannot reach alpha/k is none, and must not
    make the others stricter. It depends on the numbers of rounds alone, not on what was measured.
    """
    for k in range(1, len(smallest) + 1):
        able = [p <= alpha / k for p in smallest]
        if sum(able) <= k:
            return able
    return [False] * len(smallest)


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
