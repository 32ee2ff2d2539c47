"""Whether one AUROC is higher than another: three tests for the three ways in which two of them can be related.

- Two scores of the same answers share their labels: DeLong's test (Biometrics 44, 1988).
- Two models that were asked the same questions share the questions, and each has labels of its own: a paired bootstrap
  over questions. DeLong's test would need shared labels.
- Answers to different questions share nothing: the variances of DeLong add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from plimsoll.statistics.auroc import (
    CONFIDENCE,
    Flags,
    Numbers,
    auroc,
    newcombe_interval,
    resampled_aurocs,
    resampled_counts,
)
from plimsoll.statistics.interval import Interval

_ROUNDING: Final = 1e-18
"""Variances below it are what is left of equal numbers that were subtracted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The second minus the first, with its interval and the two-sided p-value of there being none."""

    value: float
    interval: Interval
    p: float
    test: str


def delong_covariance(scores: Numbers, positive: Flags) -> NDArray[np.float64]:
    """The covariance of the AUROCs of several scores of the same answers; `scores` has the shape (scores, answers).

    From the placements of each answer among those of the other kind, by ranks (Sun and Xu, IEEE Signal Processing
    Letters 21, 2014): the same numbers as DeLong's pairs, without making every pair.
    """
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if ones < 2 or zeros < 2:
        raise ValueError("the variance of an AUROC needs two answers of each kind")
    among_all = stats.rankdata(scores, axis=1)
    of_ones = (among_all[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / zeros
    of_zeros = 1.0 - (among_all[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / ones
    return np.atleast_2d(np.cov(of_ones)) / ones + np.atleast_2d(np.cov(of_zeros)) / zeros


def delong_test(first: Numbers, second: Numbers, positive: Flags) -> Difference:
    """Two scores of the same answers."""
    covariance = delong_covariance(np.stack([first, second]), positive)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    if variance < _ROUNDING:
        variance = _variance(first, positive) + _variance(second, positive)
    return _by_normal(auroc(second, positive) - auroc(first, positive), variance, "DeLong, paired")


def unpaired_test(first: tuple[Numbers, Flags], second: tuple[Numbers, Flags]) -> Difference:
    """Scores and labels of two sets of answers to different questions."""
    return _by_normal(auroc(*second) - auroc(*first), _variance(*first) + _variance(*second), "DeLong, unpaired")


def paired_bootstrap(
    first: tuple[Numbers, Flags], second: tuple[Numbers, Flags], random: np.random.Generator
) -> Difference:
    """Scores and labels of two models that were asked the same questions, in the same order.

    Questions are resampled together with what both models answered. The p-value compares the difference with its spread
    among resamples, as pROC does: it is not limited by their number. Where nothing varies among them, the variances of
    the two stand in as though they were not related, which is never too bold.
    """
    # First, because it refuses labels of one kind alone, of which no resample would ever have both.
    value = auroc(*second) - auroc(*first)
    counts = _resampled_questions(first[1], second[1], random)
    drawn = resampled_aurocs(*second, counts) - resampled_aurocs(*first, counts)
    variance, test = float(drawn.var(ddof=1)), "paired bootstrap"
    if variance < _ROUNDING:
        return _by_normal(value, _variance(*first) + _variance(*second), test)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    interval = Interval(low=float(low), high=float(high))
    return Difference(value=value, interval=interval, p=_by_normal(value, variance, test).p, test=test)


def _resampled_questions(first: Flags, second: Flags, random: np.random.Generator) -> NDArray[np.int32]:
    """How often each question stands in each resample.

    Not within strata of what the two got right: a question that is alone in its stratum would never vary. A resample in
    which one of them has answers of one kind alone has no AUROC; it is drawn again.
    """
    everything = np.arange(first.size)
    counts = resampled_counts([everything], first.size, random)
    while (lacking := _lacks_a_kind(counts, first, second)).any():
        again = resampled_counts([everything], first.size, random)
        counts[lacking] = again[: int(lacking.sum())]
    return counts


def _lacks_a_kind(counts: NDArray[np.int32], first: Flags, second: Flags) -> Flags:
    kinds = np.stack([first, ~first, second, ~second], axis=1).astype(np.int32)
    return np.asarray((counts @ kinds == 0).any(axis=1), dtype=np.bool_)


def _variance(scores: Numbers, positive: Flags) -> float:
    """DeLong's; of a perfect separation, in which nothing varies, the one that Newcombe's interval stands for."""
    variance = float(delong_covariance(scores[None], positive)[0, 0])
    if variance >= _ROUNDING:
        return variance
    ones = int(positive.sum())
    interval = newcombe_interval(auroc(scores, positive), ones, positive.size - ones)
    return float(((interval.high - interval.low) / 2.0 / stats.norm.ppf(0.5 + CONFIDENCE / 2.0)) ** 2)


def paired_means(first: Numbers, second: Numbers) -> Difference:
    """The mean of one figure of each answer to the same questions, such as its squared error, by the paired t-test."""
    differences = second - first
    count = differences.size
    if count < 2:
        raise ValueError("the spread of a mean needs two answers")
    value, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(count)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, count - 1)) * error
    p = 2.0 * float(stats.t.sf(abs(value) / error, count - 1)) if error else float(value == 0.0)
    return Difference(value=value, interval=Interval(low=value - reach, high=value + reach), p=p, test="paired t")


def mcnemar(first: Flags, second: Flags) -> Difference:
    """Shares of answers that are right, of the same questions: McNemar's exact test, Wald's interval."""
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    count = first.size
    value = (won - lost) / count
    p = float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
    variance = (won + lost - (won - lost) ** 2 / count) / count**2
    reach = float(stats.norm.ppf(0.5 + CONFIDENCE / 2.0)) * math.sqrt(variance)
    return Difference(value=value, interval=Interval(low=value - reach, high=value + reach), p=p, test="McNemar, exact")


def _by_normal(value: float, variance: float, test: str) -> Difference:
    deviation = math.sqrt(variance)
    reach = float(stats.norm.ppf(0.5 + CONFIDENCE / 2.0)) * deviation
    p = 2.0 * float(stats.norm.sf(abs(value) / deviation))
    return Difference(value=value, interval=Interval(low=value - reach, high=value + reach), p=p, test=test)
