"""Statistics of ranks and pairs: the rank test, its effect size, the ratios of all pairs, and the noise of rounds.

Times are skewed and have outliers, so nothing here assumes a normal distribution. scipy.stats has the same test, and
importing it takes longer than a whole comparison; the tests hold this one against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plimsoll.statistics.distributions import normal_below, normal_quantiles

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
    p = np.where(ordered[..., 0] == ordered[..., -1], 1.0, _normal_p(base, other))
    if not is_counted:
        return p
    flat_base, flat_other = base.reshape(-1, base.shape[-1]), other.reshape(-1, other.shape[-1])
    pairs = zip(flat_base, flat_other, np.atleast_1d(tied).reshape(-1), strict=True)
    flat = [_counted_p(one, two, has_ties=bool(ties)) for one, two, ties in pairs]
    return np.asarray(flat, dtype=np.float64).reshape(np.shape(p))


def average_ranks(values: Samples) -> Samples:
    """The ranks along the last axis, from 1; equal values share the mean of their ranks."""
    count = values.shape[-1]
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    differs = np.diff(ordered, axis=-1) != 0
    edge = np.ones((*values.shape[:-1], 1), dtype=bool)
    places = np.arange(count)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], axis=-1), places, 0), axis=-1)
    ends = np.where(np.concatenate([differs, edge], axis=-1), places, count)
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2.0 + 1.0, axis=-1)
    return ranks


def _normal_p(base: Samples, other: Samples) -> Samples:
    """By the normal distribution, with corrections for ties and for continuity."""
    few, many = base.shape[-1], other.shape[-1]
    count = few + many
    ranks = average_ranks(np.concatenate([base, other], axis=-1))
    above = ranks[..., :few].sum(axis=-1) - few * (few + 1) / 2.0
    # The sum of the squares of ranks is smaller by a twelfth of t^3 - t for every t that are tied.
    lost = count * (count + 1) * (2 * count + 1) / 6.0 - (ranks**2).sum(axis=-1)
    variance = few * many / 12.0 * (count + 1 - 12.0 * lost / max(1, count * (count - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (np.abs(above - few * many / 2.0) - 0.5) / np.sqrt(variance)
    return np.asarray(np.minimum(1.0, 2.0 * normal_below(-distance)))


def _counted_p(base: Samples, other: Samples, *, has_ties: bool) -> float:
    """The share, of all ways to deal the rounds to the sides, whose rank sum lies as far from the middle."""
    fewer, more = (base, other) if base.size <= other.size else (other, base)
    ranks = np.rint(2.0 * average_ranks(np.concatenate([fewer, more]))).astype(np.int64)
    ways = _ways_of(tuple(np.sort(ranks)), fewer.size) if has_ties else _ways_without_ties(ranks.size, fewer.size)
    distances = np.abs(np.arange(ways.size) - fewer.size * (ranks.size + 1))
    observed = abs(int(ranks[: fewer.size].sum()) - fewer.size * (ranks.size + 1))
    return float(ways[distances >= observed].sum() / ways.sum())


@lru_cache(maxsize=64)
def _ways_without_ties(count: int, chosen: int) -> Samples:
    return _ways_of(range(2, 2 * count + 1, 2), chosen)


def _ways_of(ranks: Sequence[int], chosen: int) -> Samples:
    """How many ways there are to choose so many of the ranks, which are doubled and ascend, by their sum."""
    furthest = sum(ranks[-chosen:])
    ways = np.zeros((chosen + 1, furthest + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : furthest + 1 - rank]
    chosen_all: Samples = ways[-1]
    return chosen_all


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
    robust = float(np.median(deviations)) / float(normal_quantiles(0.75)) * fewest / (fewest - 0.8)
    return robust or math.sqrt(sum(float(side.var()) for side in logs) / len(logs))
