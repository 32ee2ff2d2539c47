"""Tests whether one AUROC is higher than another, by how the two are related.

- Two scores of the same answers share their labels: DeLong's test (Biometrics 44, 1988).
- Two models that were asked the same questions share the questions, and each has labels of its own: a paired bootstrap
  over questions. DeLong's test would need shared labels.
- Answers to different questions share nothing: the variances of DeLong add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

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
from plimsoll.statistics.rank_tests import average_ranks

_ROUNDING: Final = 1e-18
"""Variances below it are what is left of equal numbers that were subtracted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AurocDelta:
    """The second minus the first, with its interval and the two-sided p-value of there being none."""

    value: float
    interval: Interval
    p: float
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The variance that the answers of one kind give to a difference, and its degrees of freedom."""

    variance: float
    freedom: int


def _placements(scores: Numbers, positive: Flags) -> tuple[Numbers, Numbers]:
    """The placement of each answer among those of the other kind, by ranks (Sun and Xu, IEEE Signal Processing Letters
    21, 2014): the same numbers as DeLong's pairs, without making every pair."""
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if ones < 2 or zeros < 2:
        raise ValueError("the variance of an AUROC needs two answers of each kind")
    among_all = average_ranks(scores)
    of_ones = (among_all[:, positive] - average_ranks(scores[:, positive])) / zeros
    of_zeros = 1.0 - (among_all[:, ~positive] - average_ranks(scores[:, ~positive])) / ones
    return of_ones, of_zeros


def _parts(placements: tuple[Numbers, Numbers]) -> list[_Part]:
    return [_Part(variance=float(kind.var(ddof=1)) / kind.size, freedom=kind.size - 1) for kind in placements]


def delong_test(first: Numbers, second: Numbers, positive: Flags) -> AurocDelta:
    """Two scores of the same answers."""
    of_ones, of_zeros = _placements(np.stack([first, second]), positive)
    parts = _parts((of_ones[1] - of_ones[0], of_zeros[1] - of_zeros[0]))
    if sum(part.variance for part in parts) < _ROUNDING:
        parts = [*_parts_of(first, positive), *_parts_of(second, positive)]
    return _by_t(auroc(second, positive) - auroc(first, positive), parts, "DeLong, paired")


def unpaired_test(first: tuple[Numbers, Flags], second: tuple[Numbers, Flags]) -> AurocDelta:
    """Scores and labels of two sets of answers to different questions."""
    parts = [*_parts_of(*first), *_parts_of(*second)]
    return _by_t(auroc(*second) - auroc(*first), parts, "DeLong, unpaired")


def paired_bootstrap(
    first: tuple[Numbers, Flags], second: tuple[Numbers, Flags], random: np.random.Generator
) -> AurocDelta:
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
    parts = [*_parts_of(*first), *_parts_of(*second)]
    if variance >= _ROUNDING:
        # The spread is that of the resamples; how well it is known depends on the rarer kinds.
        scale = variance / sum(part.variance for part in parts)
        parts = [_Part(variance=part.variance * scale, freedom=part.freedom) for part in parts]
    return _by_t(value, parts, test)


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


def _parts_of(scores: Numbers, positive: Flags) -> list[_Part]:
    """DeLong's; of a perfect separation, in which nothing varies, the one that Newcombe's interval stands for."""
    of_ones, of_zeros = _placements(scores[None], positive)
    parts = _parts((of_ones[0], of_zeros[0]))
    if sum(part.variance for part in parts) >= _ROUNDING:
        return parts
    ones = int(positive.sum())
    interval = newcombe_interval(auroc(scores, positive), ones, positive.size - ones)
    deviation = (interval.high - interval.low) / 2.0 / float(special.ndtri(0.5 + CONFIDENCE / 2.0))
    return [_Part(variance=deviation**2, freedom=min(ones, positive.size - ones) - 1)]


def paired_means(first: Numbers, second: Numbers) -> AurocDelta:
    """The mean of one figure of each answer to the same questions, such as its squared error, by the paired t-test."""
    differences = second - first
    count = differences.size
    if count < 2:
        raise ValueError("the spread of a mean needs two answers")
    value, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(count)
    reach = float(special.stdtrit(count - 1, 0.5 + CONFIDENCE / 2.0)) * error
    p = 2.0 * float(special.stdtr(count - 1, -abs(value) / error)) if error else float(value == 0.0)
    return AurocDelta(value=value, interval=Interval(low=value - reach, high=value + reach), p=p, test="paired t")


def mcnemar(first: Flags, second: Flags) -> AurocDelta:
    """Shares of answers that are right, of the same questions: McNemar's exact test, Wald's interval."""
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    count = first.size
    value = (won - lost) / count
    p = min(1.0, 2.0 * float(special.bdtr(min(won, lost), won + lost, 0.5)))
    variance = (won + lost - (won - lost) ** 2 / count) / count**2
    reach = float(special.ndtri(0.5 + CONFIDENCE / 2.0)) * math.sqrt(variance)
    return AurocDelta(value=value, interval=Interval(low=value - reach, high=value + reach), p=p, test="McNemar, exact")


def _by_t(value: float, parts: Sequence[_Part], test: str) -> AurocDelta:
    """By Student's t with the degrees of freedom of the rarest kind, whose variance is known worst.

    With five answers of a kind the normal distribution is wrong in 8 to 9 % where 5 are promised, and Satterthwaite's
    degrees of freedom in 6.
    """
    variance = sum(part.variance for part in parts)
    freedom = min(part.freedom for part in parts)
    deviation = math.sqrt(variance)
    reach = float(special.stdtrit(freedom, 0.5 + CONFIDENCE / 2.0)) * deviation
    p = 2.0 * float(special.stdtr(freedom, -abs(value) / deviation))
    return AurocDelta(
        value=value, interval=Interval(low=max(-1.0, value - reach), high=min(1.0, value + reach)), p=p, test=test
    )
