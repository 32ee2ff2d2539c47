"""A confidence interval; this module needs no numpy, unlike those that compute one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval, both bounds included."""

    low: float
    high: float
