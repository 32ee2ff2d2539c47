"""A confidence interval. It stands apart from what computes one, because that needs numpy and this does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval, both bounds included."""

    low: float
    high: float
