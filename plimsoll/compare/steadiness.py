"""Measures how much runs of one configuration differ beyond what their rounds explain.

A run as a whole lies higher or lower than the next, and no number of rounds shows it, because every round has it. It is
learnt from like runs, over all times at once, as one factor by which the variance is larger than the rounds show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from plimsoll.compare.side import Key
from plimsoll.statistics.rank_tests import Samples, cliffs_delta

Rounds = dict[Key, Samples]

_FEWEST_ROUNDS: Final = 5
_FEWEST_TO_LEARN_FROM: Final = 10
"""Times that like runs must share: the mean square of fewer says nothing."""


_NOT_LEARNT: Final = (
    "no --like RUN was given, so nothing shows how much runs of one configuration differ: slower and faster say that "
    "these two runs differ, and not why"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """How much larger than its rounds show the variance is, 1 for a steady machine, and what that rests on."""

    factor: float = 1.0
    text: str = ""


def between(runs: Sequence[tuple[str, Rounds]]) -> Steadiness:
    """How steady the machine is from run to run: do runs of the same configuration differ by more than their rounds?

    `runs` are the base and those that are like it. The mean square of the rank test's t over all times and pairs of
    runs is 1 where they do not.
    """
    if len(runs) < 2:
        return Steadiness(text=_NOT_LEARNT)
    squares = [
        _square(ours[key], theirs[key])
        for (_, ours), (_, theirs) in combinations(runs, 2)
        for key in ours.keys() & theirs.keys()
        if min(ours[key].size, theirs[key].size) >= _FEWEST_ROUNDS
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


def _square(ours: Samples, theirs: Samples) -> float:
    pairs = ours.size * theirs.size
    sigma = math.sqrt(pairs * (ours.size + theirs.size + 1) / 12.0)
    square = (cliffs_delta(ours, theirs) * pairs / 2.0 / sigma) ** 2
    # As Student's t of the ranks, by which differences are judged: z cannot grow beyond that of sides without overlap.
    count = ours.size + theirs.size
    return (count - 2) * square / (count - 1 - square)


def _fewer(factor: float) -> str:
    return f"1/{factor:.1f} of the"
