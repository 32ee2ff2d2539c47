"""Decides when a difference counts, and by which word a comparison calls it.

"Same" is a finding, not the absence of one: it needs an interval that fits inside the margin. What is neither shown to
differ nor shown to be the same is "too few samples", however often it was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plimsoll.statistics.interval import Interval

_HOPELESS: Final = "no difference, however large, could be told from chance"

MOST_ROUNDS: Final = 2000
"""The most rounds that make sense; where a comparison needs more, it says so and gives no number."""


class Change(StrEnum):
    """The results of comparing times."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    TOO_FEW = "too few samples"


class Level(StrEnum):
    """The results of comparing single figures."""

    MORE = "more"
    LESS = "less"
    SAME = "same"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The numbers that decide. Fractions, not percent."""

    alpha: float = 0.025
    """The chance of any false "faster" or "slower" in the whole comparison, where rounds are independent. Half of the
    5 % that a comparison may be wrong in: rounds never are quite independent."""
    margin: float = 0.05
    """Ratios from 1/(1 + margin) to 1 + margin are as good as the same."""
    confidence: float = 0.95
    """Of each interval."""
    change: float = 0.10
    """The change that the stated number of rounds is to find,"""
    power: float = 0.95
    """with this chance."""
    fewest_rounds: int = 5
    """A side with fewer rounds gets no interval and no word: it says nothing of its own noise."""
    step: float = 0.15
    """What two states of a clock differ by at most. Rounds that kept one state in each run look like a difference, so
    none up to this size is called one before"""
    rounds_seen: int = 50
    """so many pairs of rounds in a row, of all times and both sides together, could have shown that states change."""
    memory_tolerance: float = 0.05
    """Memory figures have one value a run: they differ when they do by more than this fraction,"""
    memory_floor: float = 32 * 2**20
    """and by more than this many bytes, which allocators take and keep as they like."""

    @property
    def log_margin(self) -> float:
        """The margin as a distance of logarithms, the same in both directions."""
        return math.log1p(self.margin)

    @property
    def log_step(self) -> float:
        """The step as a distance of logarithms."""
        return math.log1p(self.step)


def decide(
    ratio: float, interval: Interval | None, p_adjusted: float | None, rule: Rule, needed: float | None = None
) -> tuple[Change, str]:
    """The word for a ratio of times (above 1 is slower), and why it is that word.

    `p_adjusted` is None where too few rounds were taken for any test. `needed` is the size, as a logarithm, from which
    a difference of these runs may be called one; None takes the margin.
    """
    needed = rule.log_margin if needed is None else max(needed, rule.log_margin)
    if interval is None or p_adjusted is None:
        return Change.TOO_FEW, _HOPELESS
    is_significant = p_adjusted < rule.alpha and not interval.low <= 1.0 <= interval.high
    size = abs(math.log(ratio))
    if is_significant and size > needed:
        return (Change.SLOWER if ratio > 1 else Change.FASTER), ""
    if -rule.log_margin < math.log(interval.low) and math.log(interval.high) < rule.log_margin:
        return Change.SAME, ""
    if is_significant and size > rule.log_margin:
        return Change.TOO_FEW, f"it differs, but by no more than states of a machine may ({math.expm1(needed):.0%})"
    if is_significant:
        return Change.TOO_FEW, f"it differs, but not surely by more than {rule.margin:.0%}"
    return Change.TOO_FEW, f"neither shown to differ, nor to be within {rule.margin:.0%}"
