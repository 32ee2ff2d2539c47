"""How many rounds it takes: to find a change of a given size, and to show that there is none.

A tool that says "too few samples" owes the number that would be enough. Both are computed for rounds whose logarithms
are normal, from the same tests that decide; `benchmarks/comparison_honesty.py` holds them against simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from scipy import stats

from plimsoll.compare.rule import Rule

MOST: Final = 2000
"""Rounds beyond which nobody will go; the answer is then None."""
_MEDIAN_SPREAD: Final = math.sqrt(math.pi / 2.0)
"""A median of normal values spreads this much more than their mean."""

_CAUTION: Final = 0.6
"""Of the misses that are allowed, those that are planned for: medians of few rounds and bootstrapped intervals are less
normal than the formula has them, which costs up to two points of a hundred (simulated, as above)."""


@lru_cache(maxsize=4096)
def rounds_to_find(noise: float, tests: int, rule: Rule) -> int | None:
    """Rounds a side that find `rule.change` with a chance of `rule.power`.

    `noise` is the standard deviation of the logarithms of rounds, `tests` the number of times that are compared at
    once. None where it takes more than MOST.
    """
    level = rule.alpha / tests
    aim = 1.0 - _CAUTION * (1.0 - rule.power)
    shift = math.log1p(rule.change)
    apart = shift / (max(noise, 1e-9) * math.sqrt(2.0))
    above = float(stats.norm.cdf(apart))
    both = float(stats.multivariate_normal.cdf([apart, apart], mean=[0.0, 0.0], cov=[[1.0, 0.5], [0.5, 1.0]]))

    def is_enough(rounds: int) -> bool:
        significant = _significant(rounds, level, above, both)
        spread = _MEDIAN_SPREAD * noise * math.sqrt(2.0 / rounds)
        clear = float(stats.norm.cdf((shift - rule.log_margin) / max(spread, 1e-9)))
        # The two go together in a way that depends on the data; this is the least that their joint chance can be.
        return significant + clear - 1.0 >= aim

    return _fewest(is_enough, rule.fewest_rounds)


def _significant(rounds: int, level: float, above: float, both: float) -> float:
    """The chance that the rank test is significant, by the normal distribution, which asks for more than the exact one
    does where rounds are few: a number that is named can always reach significance.

    `above` is the chance that a round of the slower side is longer than one of the other, `both` that it is longer
    than two of them.
    """
    pairs = rounds * rounds
    threshold = float(stats.norm.isf(level / 2.0)) * math.sqrt(pairs * (2 * rounds + 1) / 12.0) + 0.5
    variance = pairs * (above * (1.0 - above) + 2 * (rounds - 1) * max(both - above * above, 0.0))
    excess = pairs * (above - 0.5) - threshold
    if variance <= 0.0:
        return 1.0 if excess >= 0.0 else 0.0
    return float(stats.norm.cdf(excess / math.sqrt(variance)))


@lru_cache(maxsize=4096)
def rounds_for_same(noise: float, rule: Rule) -> int | None:
    """Rounds a side that show two equal times to be the same within `rule.margin`, with a chance of `rule.power`.

    `noise` is as above. None where it takes more than MOST.
    """
    tail = float(stats.norm.isf((1.0 - rule.confidence) / 2.0)) + float(stats.norm.isf((1.0 - rule.power) / 2.0))

    def is_enough(rounds: int) -> bool:
        return tail * _MEDIAN_SPREAD * noise * math.sqrt(2.0 / rounds) <= rule.log_margin

    return _fewest(is_enough, rule.fewest_rounds)


def _fewest(is_enough: Callable[[int], bool], fewest: int) -> int | None:
    """The smallest number that is enough, by bisection: what is enough stays enough with more."""
    if not is_enough(MOST):
        return None
    low, high = fewest - 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
