"""Judges differences of times: how large, how sure, and from which size on they may be called real.

All times of two runs are judged at once, because how far rounds go together is learnt from all of them. Two tests can
show a difference. The rank test is exact where rounds are independent, not moved by outliers, and weakened by as much
as rounds go together. Where there are too few rounds for it, a difference of the mean logarithms can still be so large
that no clock state explains it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from plimsoll.compare.rule import Rule
from plimsoll.statistics.distributions import Numbers
from plimsoll.statistics.rank_tests import average_ranks, exact_p, pair_quantiles
from plimsoll.statistics.together import IS_SLOW, SHARES, Evidence, evidence, reach, tails, weights

_SHOWN: Final = 0.95
"""How sure it must be that rounds go together before that is said."""
_COUNTS_FROM: Final = 1.5
"""The variance factor from which rounds are said to go together."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found of times, one an element; logarithms of ratios, above 0 is slower."""

    ratio: Numbers
    """The median of the ratios of each round to each round of the base (Hodges and Lehmann)."""
    low: Numbers
    high: Numbers
    p: Numbers
    """That of the test that shows the difference best, not yet corrected for the number of times."""
    needed: Numbers
    """The size that a difference must have to be called one."""


@dataclass(frozen=True, slots=True)
class Together:
    """How far the rounds of two runs go together."""

    factor: Numbers
    """How many times larger the variance of a difference is than rounds alone show; what is expected of it."""
    is_shown: Numbers
    """1 where that rounds go together at all is beyond doubt, else 0."""


Group = tuple[Numbers, Numbers]
"""Rounds of the base and of the other side in the order of time, as logarithms: (..., times, rounds)."""


def judge(groups: Sequence[Group], rule: Rule, *, between: float = 1.0) -> tuple[list[Judged], Together]:
    """Judge the times of two runs; each group has the times with the same numbers of rounds.

    `between` is how many times larger than independent rounds would show the variance between like runs is.
    """
    by_size = [evidence(*group) for group in groups]
    pooled = [_ranked(group) for group in groups]
    by_rank = [evidence(*ranks) for ranks in pooled]
    size_weights, shared = weights([e.log_likelihood for e in by_size])
    rank_weights, of_ranks = weights([e.log_likelihood for e in by_rank])
    needed = _needed(groups, by_size, shared, rule)
    together = _together(by_rank, of_ranks)
    # What goes together within a run makes like runs differ too, and must not count twice.
    widening = np.sqrt(np.maximum(1.0, between / together.factor))[..., None]
    found = [
        _judged(group, one, other, weight, rank_weight, needed, rule, widening)
        for group, one, other, weight, rank_weight in zip(
            groups, by_size, by_rank, size_weights, rank_weights, strict=True
        )
    ]
    return found, together


def _ranked(group: Group) -> Group:
    ranks = average_ranks(np.concatenate(group, axis=-1))
    count = group[0].shape[-1]
    return ranks[..., :count], ranks[..., count:]


def _needed(groups: Sequence[Group], found: Sequence[Evidence], shared: Numbers, rule: Rule) -> Numbers:
    """The size from which a difference may be called one.

    The margin; where all rounds together are so few that a clock may have kept one state throughout each run, the step
    of a clock; and where states that last are seen, their own size beside the margin.
    """
    seen = sum(one.shape[-2] * (one.shape[-1] + other.shape[-1] - 2) for one, other in groups)
    least = rule.log_margin if seen >= rule.rounds_seen else max(rule.log_margin, rule.log_step)
    lasting = (shared * IS_SLOW).sum(axis=-1)
    squares = np.concatenate([one.spread**2 for one in found], axis=-2).mean(axis=-2)
    size = np.sqrt((shared * IS_SLOW * SHARES * squares).sum(axis=-1) / np.maximum(lasting, 1e-9))
    # Two states that are equally frequent lie two standard deviations apart.
    return np.asarray(least + np.where(lasting > 0.5, 2.0 * size, 0.0))


def _judged(
    group: Group,
    by_size: Evidence,
    by_rank: Evidence,
    weight: Numbers,
    rank_weight: Numbers,
    needed: Numbers,
    rule: Rule,
    widening: Numbers,
) -> Judged:
    p = np.minimum(_rank_p(group, by_rank, rank_weight, widening), _p_beyond(by_size, weight, rule.log_step, widening))
    ratio, low, high = _interval(group, by_size, by_rank, weight, rank_weight, rule, widening)
    return Judged(ratio=ratio, low=low, high=high, p=p, needed=np.broadcast_to(needed[..., None], p.shape))


def _rank_p(group: Group, found: Evidence, weight: Numbers, widening: Numbers) -> Numbers:
    below, above = tails(weight, found.difference / (widening[..., None] * found.deviation), found.freedom)
    mixed = np.minimum(1.0, 2.0 * np.minimum(below, above))
    # Rounds that are independent are no surer than the exact test says.
    return np.maximum(mixed, exact_p(*group))


def _p_beyond(found: Evidence, weight: Numbers, step: float, widening: Numbers) -> Numbers:
    """The p-value of there being no difference beyond the step, in either direction."""
    deviation = widening[..., None] * found.deviation
    slower, _ = tails(weight, (found.difference - step) / deviation, found.freedom)
    _, faster = tails(weight, (found.difference + step) / deviation, found.freedom)
    return np.minimum(1.0, 2.0 * np.minimum(slower, faster))


def _interval(
    group: Group,
    by_size: Evidence,
    by_rank: Evidence,
    weight: Numbers,
    rank_weight: Numbers,
    rule: Rule,
    widening: Numbers,
) -> tuple[Numbers, Numbers, Numbers]:
    """The ratio with its interval: all ratios that the rank test would not reject; by the means where it has too few
    rounds to reject any."""
    level = 1.0 - rule.confidence
    first, second = (side.shape[-1] for side in group)
    count = first + second
    scale = widening[..., None] * by_rank.deviation / by_rank.independent
    distance = reach(rank_weight, scale, by_rank.freedom, level)
    # From Student's t of ranks to the normal deviate of their sum.
    z = distance * np.sqrt((count - 1) / (count - 2 + distance**2))
    tail = 0.5 - z * math.sqrt((count + 1) / (12.0 * first * second))
    ratio, low, high = pair_quantiles(*group, tail)
    mean = (weight * by_size.difference).sum(axis=-1)
    half = reach(weight, widening[..., None] * by_size.deviation, by_size.freedom, level)
    is_open = tail * first * second < 1.0
    low = np.where(is_open, np.minimum(mean - half, ratio), low)
    high = np.where(is_open, np.maximum(mean + half, ratio), high)
    return ratio, low, high


def _together(found: Sequence[Evidence], shared: Numbers) -> Together:
    factors = np.concatenate([(one.deviation / one.independent) ** 2 for one in found], axis=-2).mean(axis=-2)
    expected = np.maximum(1.0, (shared * factors).sum(axis=-1))
    sure = (shared * (factors >= _COUNTS_FROM)).sum(axis=-1)
    return Together(factor=expected, is_shown=(sure >= _SHOWN).astype(np.float64))
