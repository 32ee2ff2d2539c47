"""Calibration: whether a model is right as often as its probabilities say.

The confidence of an answer is exp(-mean NLL), the geometric mean of its tokens' probabilities. That is no probability
of being right, and nothing calibrates it: the diagram and the error show how far it is from one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy import special

from plimsoll.statistics.auroc import CONFIDENCE
from plimsoll.statistics.interval import Interval

BINS: Final = 10
"""Equally wide, from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """A share of answers with Wilson's interval."""

    value: float
    interval: Interval
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The answers whose confidence lies from `low` to `high`; the highest bin includes 1."""

    low: float
    high: float
    confidence: float
    """Their mean."""
    right: Proportion


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """The bins with answers, and the calibration error over them."""

    bins: tuple[Bin, ...]
    error: float
    """Expected calibration error: how far accuracy and confidence lie apart in the bins, weighted by their answers."""
    brier: float
    """Mean squared distance of confidence from 1 for right answers and from 0 for wrong ones."""


def proportion(right: Sequence[bool]) -> Proportion:
    """The share that is True. Raises ValueError for no answers."""
    if not right:
        raise ValueError("a share of no answers is none")
    count, value = len(right), sum(right) / len(right)
    z = float(special.ndtri(0.5 + CONFIDENCE / 2.0))
    middle = value + z**2 / (2.0 * count)
    reach = z * math.sqrt(value * (1.0 - value) / count + (z / (2.0 * count)) ** 2)
    low, high = ((middle + side) / (1.0 + z**2 / count) for side in (-reach, reach))
    # Rounding leaves next to nothing below 0 and above 1, where the bound is the share itself.
    interval = Interval(low=low if value > 0.0 else 0.0, high=high if value < 1.0 else 1.0)
    return Proportion(value=value, interval=interval, answers=count)


def confidence(mean_nll: float) -> float:
    """The confidence that a mean NLL (nats a token) stands for, from 0 to 1."""
    return min(1.0, math.exp(-mean_nll))


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> Reliability:
    """The diagram of answers; both sequences in the same order, none empty."""
    groups: dict[int, list[int]] = {}
    for place, value in enumerate(confidences):
        groups.setdefault(min(int(value * BINS), BINS - 1), []).append(place)
    bins = tuple(
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            confidence=math.fsum(confidences[place] for place in places) / len(places),
            right=proportion([right[place] for place in places]),
        )
        for number, places in sorted(groups.items())
    )
    count = len(confidences)
    return Reliability(
        bins=bins,
        error=math.fsum(b.right.answers / count * abs(b.right.value - b.confidence) for b in bins),
        brier=math.fsum(brier_losses(confidences, right)) / count,
    )


def brier_losses(confidences: Sequence[float], right: Sequence[bool]) -> list[float]:
    """The squared distance of each confidence from what came of it."""
    return [(value - is_right) ** 2 for value, is_right in zip(confidences, right, strict=True)]
