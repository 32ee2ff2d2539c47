"""Says how many rounds it takes to find a change of a given size, and to show that there is none.

A tool that says "too few samples" owes the number that would be enough. It is computed for independent rounds whose
logarithms are normal: how far rounds go together is learnt from them as well, so what such rounds teach is drawn at
random (the same draws every time), and each draw says how large a difference it would take.
`benchmarks/comparison_honesty.py` holds the numbers against simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

from plimsoll.compare.rule import MOST_ROUNDS, Rule
from plimsoll.statistics.distributions import Numbers, normal_below, normal_quantiles
from plimsoll.statistics.rank_tests import smallest_p
from plimsoll.statistics.seeded import generator
from plimsoll.statistics.together import evidence, reach, weights

ASSUMED_NOISE: Final = 0.05
"""The noise for which a number of rounds is named where there are too few rounds to see any."""
_SERIES: Final = 120
"""Times that are drawn for a number of rounds."""
_MOST_TIMES: Final = 40
"""Times beyond which more of them teach nothing more of how rounds go together."""
_DRAWN_ROUNDS: Final = 60
"""Rounds beyond which what is learnt hardly changes; of very many, means of at least so many blocks are looked at."""
_EFFICIENCY: Final = math.sqrt(3.0 / math.pi)
"""Of ranks, beside means of normal values: the distance of two sides in standard errors is shorter by this."""
_CAUTION: Final = 0.5
"""Of the misses that are allowed, those that are planned for: what is drawn is itself a small sample."""
_SPARE: Final = 1.15
"""Rounds are asked for beyond those of the formula, which leaves out how p-values of ranks scatter (by simulation)."""


@lru_cache(maxsize=4096)
def rounds_to_find(noise: float, tests: int, rule: Rule) -> int | None:
    """Rounds a side that find `rule.change` with a chance of `rule.power`.

    `noise` is the standard deviation of the logarithms of rounds, `tests` the number of times that are compared at
    once. None where it takes more than MOST_ROUNDS.
    """
    tests = max(1, tests)
    level = rule.alpha / tests
    shift = math.log1p(rule.change)

    def is_enough(rounds: int) -> bool:
        seen = 2 * tests * (rounds - 1)
        needed = rule.log_margin if seen >= rule.rounds_seen else max(rule.log_margin, rule.log_step)
        error = _error(noise, rounds)
        clear = shift - needed
        # Ranks of few rounds cannot reach every level; the size of a difference can, if it is beyond a clock's step.
        by_rank = _rank_distance(shift / max(noise, 1e-9)) * math.sqrt(rounds) - _distances(
            min(rounds, _DRAWN_ROUNDS), tests, level
        )
        by_size = (shift - rule.log_step) / error - _distances(min(rounds, _DRAWN_ROUNDS), tests, level)
        beyond = np.maximum(by_rank, by_size) if smallest_p(rounds, rounds) <= level else by_size
        return _chance(np.minimum(beyond, clear / error)) >= _aim(rule)

    return _fewest(is_enough, rule.fewest_rounds)


@lru_cache(maxsize=4096)
def rounds_for_same(noise: float, tests: int, rule: Rule) -> int | None:
    """Rounds a side that show two equal times to be the same within `rule.margin`, with a chance of `rule.power`.

    `noise` and `tests` are as above. None where it takes more than MOST_ROUNDS.
    """

    def is_enough(rounds: int) -> bool:
        left = rule.log_margin / _error(noise, rounds) - _distances(
            min(rounds, _DRAWN_ROUNDS), max(1, tests), 1.0 - rule.confidence
        )
        return float(np.mean(np.maximum(0.0, 1.0 - 2.0 * normal_below(-left)))) >= _aim(rule)

    return _fewest(is_enough, rule.fewest_rounds)


@lru_cache(maxsize=4096)
def _rank_distance(shift: float) -> float:
    """How far the mean ranks of two normal sides lie apart, in standard errors over the root of the rounds.

    `shift` is in standard deviations of a round. It cannot grow beyond that of two sides without overlap.
    """
    places = normal_quantiles((np.arange(2000) + 0.5) / 2000)
    ranks = normal_below(places) + normal_below(places + shift)
    return float(math.erf(shift / 2.0) / (ranks.std() * math.sqrt(2.0)))


def _error(noise: float, rounds: int) -> float:
    """The standard error of a difference."""
    return max(noise, 1e-9) * math.sqrt(2.0 / rounds) / _EFFICIENCY


def _chance(distance: Numbers) -> float:
    return float(np.mean(normal_below(distance)))


def _aim(rule: Rule) -> float:
    return 1.0 - _CAUTION * (1.0 - rule.power)


@lru_cache(maxsize=1024)
def _distances(rounds: int, tests: int, level: float) -> Numbers:
    """For each draw, the distance of the means in standard errors that is significant at this level."""
    weight, scale, freedom = _draws(rounds, min(tests, _MOST_TIMES))
    return reach(weight, scale, freedom, level)


@lru_cache(maxsize=256)
def _draws(rounds: int, times: int) -> tuple[Numbers, Numbers, int]:
    """What independent rounds teach of how they go together, in one draw after the other."""
    random = generator("rounds", str(rounds), str(times))
    shape = (-(-_SERIES // times), times, rounds)
    found = evidence(random.standard_normal(shape), random.standard_normal(shape))
    (weight,), _ = weights([found.log_likelihood])
    # In units of what these rounds would show were they independent.
    unit = found.spread[..., :1] * math.sqrt(2.0 / rounds)
    grid = weight.shape[-1]
    return weight.reshape(-1, grid), (found.deviation / unit).reshape(-1, grid), found.freedom


def _fewest(is_enough: Callable[[int], bool], fewest: int) -> int | None:
    """The smallest number that is enough, by bisection: what is enough stays enough with more."""
    if not is_enough(MOST_ROUNDS):
        return None
    low, high = fewest - 1, MOST_ROUNDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    spared = math.ceil(_SPARE * high) if high > fewest else high
    return spared if spared <= MOST_ROUNDS else None
