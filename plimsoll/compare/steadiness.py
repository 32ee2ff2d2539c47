"""Is a difference between two runs more than what one run differs from itself, or from its like?

Tests take rounds for independent. Where a machine warms up, is throttled or shared, rounds of one run go together, and
a run as a whole lies higher or lower than the next: the rounds then promise a precision that they do not have. Both
effects are measured here, over all times at once, as one factor by which the variance is larger than the rounds show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from plimsoll.compare.side import Key
from plimsoll.statistics.ranks import Samples, cliffs_delta
from plimsoll.statistics.seeded import generator

Rounds = dict[Key, Samples]

_FEWEST_FOR_HALVES: Final = 6
_PERMUTATIONS: Final = 999
_BLOCKS: Final = 100
_WANDERS: Final = 0.01
"""The chance that a steady run is called unsteady: low, because the answer costs power."""
_FEWEST_TO_LEARN_FROM: Final = 10
"""Times that like runs must share: the mean square of fewer says nothing."""


_NOT_LEARNT: Final = (
    "how much runs of one configuration differ is not known, for no --like RUN was given: slower and faster tell these "
    "two runs apart, not what made them differ"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """How much larger than its rounds show the variance is, 1 for a steady machine, and what that rests on."""

    factor: float = 1.0
    text: str = ""


def within(base: tuple[str, Rounds], other: tuple[str, Rounds]) -> Steadiness:
    """Do the rounds of two runs wander, each its own way, by more than chance?

    A permutation test over all times with enough rounds: how far the late rounds lie from the early ones, held against
    the same in the other run. A drift that both have (a machine that warms up) puts neither above the other, and does
    not count. The factor holds for a drift, whose offset between runs is as large as what it moves within one; for
    rounds that only go together it is more than enough.
    """
    pairs = [
        (_condensed(np.log(base[1][key])), _condensed(np.log(other[1][key])))
        for key in base[1]
        if key in other[1] and all(_can_wander(rounds[1][key]) for rounds in (base, other))
    ]
    if not pairs:
        return Steadiness()
    observed = sum(float(_wandering(*pair)) for pair in pairs)
    excess = observed / len(pairs) - 1.0
    # A permutation gives 1 on average, with a spread of sqrt(2) for each time: what is not beyond that is not unlikely.
    if excess <= math.sqrt(2.0 / len(pairs)):
        return Steadiness()
    random = generator("within", base[0], other[0])
    shuffled = sum(_wandering(*(_shuffled(logs, random) for logs in pair)) for pair in pairs)
    p = (1 + int(np.sum(shuffled >= observed))) / (1 + _PERMUTATIONS)
    if p > _WANDERS:
        return Steadiness()
    factor = 1.0 + 4.0 * excess
    text = (
        f"rounds wander within {base[0]} or {other[0]} (p = {p:.3f}): differences are judged as if there were "
        f"{_fewer(factor)} rounds"
    )
    return Steadiness(factor=factor, text=text)


def _can_wander(rounds: Samples) -> bool:
    return bool(rounds.size >= _FEWEST_FOR_HALVES and np.ptp(rounds) > 0)


def _condensed(logs: Samples) -> Samples:
    """Means of blocks where there are very many rounds: a thousand permutations would not fit into memory, and a drift
    shows as well in the means."""
    if logs.size <= 2 * _BLOCKS:
        return logs
    length = logs.size // _BLOCKS
    return np.asarray(logs[: length * _BLOCKS].reshape(_BLOCKS, length).mean(axis=-1))


def _shuffled(logs: Samples, random: np.random.Generator) -> Samples:
    return random.permuted(np.tile(logs, (_PERMUTATIONS, 1)), axis=-1)


def between(runs: Sequence[tuple[str, Rounds]]) -> Steadiness:
    """How steady the machine is from run to run: do runs of the same configuration differ by more than their rounds?

    `runs` are the base and those that are like it. The mean square of the rank test's z over all times and pairs of
    runs is 1 where they do not.
    """
    if len(runs) < 2:
        return Steadiness(text=_NOT_LEARNT)
    squares = [
        _square(ours[key], theirs[key])
        for (_, ours), (_, theirs) in combinations(runs, 2)
        for key in ours.keys() & theirs.keys()
        if min(ours[key].size, theirs[key].size) >= _FEWEST_FOR_HALVES - 1
    ]
    names = ", ".join(name for name, _ in runs)
    if len(squares) < _FEWEST_TO_LEARN_FROM:
        return Steadiness(
            text=f"{names} share {len(squares)} times with enough rounds, and {_FEWEST_TO_LEARN_FROM} are needed to "
            "learn how much like runs differ: nothing was learnt"
        )
    factor = max(1.0, float(np.mean(squares)))
    text = f"like runs ({names}) differ as if they had {_fewer(factor)} rounds, and so is every difference judged"
    return Steadiness(factor=factor, text=text if factor > 1.0 else f"like runs ({names}) are as like as their rounds")


def _wandering(ours: Samples, theirs: Samples) -> Samples:
    """The squared difference of how far the later half is from the earlier one, in units of what independent rounds
    would give."""
    sides = (ours, theirs)
    (first, second), halves = [_drift(side) for side in sides], [side.shape[-1] // 2 for side in sides]
    variance = sum(side.var(axis=-1, ddof=1) * 2.0 / half for side, half in zip(sides, halves, strict=True))
    return np.asarray((first - second) ** 2 / variance)


def _drift(logs: Samples) -> Samples:
    half = logs.shape[-1] // 2
    return np.asarray(logs[..., -half:].mean(axis=-1) - logs[..., :half].mean(axis=-1))


def _square(ours: Samples, theirs: Samples) -> float:
    pairs = ours.size * theirs.size
    sigma = math.sqrt(pairs * (ours.size + theirs.size + 1) / 12.0)
    return (cliffs_delta(ours, theirs) * pairs / 2.0 / sigma) ** 2


def _fewer(factor: float) -> str:
    return f"1/{factor:.1f} of the"
