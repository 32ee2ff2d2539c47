"""Judges a measured value by a limit.

A value that was not measured is *unset* and always fails: "no answer" never becomes a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from plimsoll.metrics import METRICS
from plimsoll.units import format_value


class Outcome(StrEnum):
    """The outcome of a judgement; `unset` fails because nothing was measured."""

    PASS = "pass"  # noqa: S105  an outcome, not a password
    MARGINAL = "marginal"
    FAIL = "fail"
    UNSET = "unset"

    @property
    def is_good(self) -> bool:
        """True for outcomes that a verdict may accept."""
        return self in (Outcome.PASS, Outcome.MARGINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A value of a metric in its base unit; None for *unset*, with the `reason` why nothing was measured.

    Raises KeyError for a metric that METRICS does not list, and ValueError for an unset value without a reason.
    """

    metric: str
    value: float | None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise KeyError(f"{self.metric!r} is not a metric; add it to plimsoll/metrics.py")
        if self.value is None and not self.reason:
            raise ValueError(f"an unset {self.metric} needs the reason why it was not measured")

    @property
    def unit(self) -> str:
        """The metric's base unit."""
        return METRICS[self.metric].unit

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.metric}: not measured ({self.reason})"
        return f"{self.metric} {format_value(self.value, self.unit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The inclusive bounds of a metric in its base unit, with their source.

    A value inside the bounds but within `margin` (a fraction of the nearer bound) of one of them is *marginal*.
    Raises ValueError for bounds that are missing, not finite or crossed, a negative margin or an empty source.
    """

    metric: str
    low: float | None = None
    high: float | None = None
    source: str
    margin: float = 0.0

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if not bounds:
            raise ValueError(f"a limit on {self.metric} needs low or high")
        if not all(math.isfinite(bound) for bound in bounds):
            raise ValueError(f"a limit on {self.metric} must be finite, not {self.low}..{self.high}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"a limit on {self.metric} has low {self.low} above high {self.high}")
        if not (0.0 <= self.margin < 1.0):
            raise ValueError(f"the margin of a limit on {self.metric} must be in [0, 1), not {self.margin}")
        if not self.source:
            raise ValueError(f"a limit on {self.metric} needs a source")

    @property
    def is_exact(self) -> bool:
        """True where exactly one value is right."""
        return self.low is not None and self.low == self.high

    def __str__(self) -> str:
        unit = METRICS[self.metric].unit
        low, high = (None if b is None else format_value(b, unit) for b in (self.low, self.high))
        if self.is_exact:
            return f"exactly {low}"
        if low is None:
            return f"at most {high}"
        return f"at least {low}" if high is None else f"{low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A measurement held against a limit. `headroom` is the distance to the nearest bound as a fraction of that bound,
    negative outside, None where nothing was measured or the bound is zero."""

    measurement: Measurement
    limit: Limit
    outcome: Outcome
    headroom: float | None

    def __str__(self) -> str:
        """Value, unit, expectation, both limits and the source, as a failing test prints it."""
        room = f", {self.room}" if self.room else ""
        return f"{self.outcome}: {self.measurement}; limit {self.limit}{room} [{self.limit.source}]"

    @property
    def room(self) -> str:
        """How far inside or outside of its limit the value is, `12.0% inside`, `2,370 times the limit`; empty where
        that is undefined."""
        if self.headroom is None:
            return ""
        far, inside = abs(self.headroom), self.headroom >= 0
        value, high = self.measurement.value, self.limit.high
        is_above = inside or (value is not None and high is not None and value > high > 0)
        if far < 1 or not is_above:
            return f"{far:.1%} {'inside' if inside else 'outside'}"
        times = f"{1 + far:,.1f}" if far < 9 else f"{1 + far:,.0f}"
        return f"{times} times {'the least that is allowed' if inside else 'the limit'}"


def judge(measurement: Measurement, limit: Limit) -> Judgement:
    """Judge a measurement by a limit; NaN and infinities fail, None is unset.

    Raises ValueError where their metrics differ.
    """
    if measurement.metric != limit.metric:
        raise ValueError(f"a measurement of {measurement.metric} cannot be judged by a limit on {limit.metric}")
    value = measurement.value
    if value is None:
        return Judgement(measurement=measurement, limit=limit, outcome=Outcome.UNSET, headroom=None)
    if not math.isfinite(value):
        return Judgement(measurement=measurement, limit=limit, outcome=Outcome.FAIL, headroom=None)
    gaps = [value - limit.low] if limit.low is not None else []
    gaps += [limit.high - value] if limit.high is not None else []
    if min(gaps) < 0:
        outcome = Outcome.FAIL
    else:
        near = any(
            abs(value - bound) < limit.margin * abs(bound) for bound in (limit.low, limit.high) if bound is not None
        )
        outcome = Outcome.MARGINAL if near and not limit.is_exact else Outcome.PASS
    return Judgement(measurement=measurement, limit=limit, outcome=outcome, headroom=_headroom(value, limit))


def _headroom(value: float, limit: Limit) -> float | None:
    rooms = []
    if limit.low:
        rooms.append((value - limit.low) / abs(limit.low))
    if limit.high:
        rooms.append((limit.high - value) / abs(limit.high))
    return min(rooms, default=None)


def broken_bound(judgement: Judgement) -> dict[str, str]:
    """The metric and the bound that a value broke, as evidence for symptoms; empty where it broke none."""
    value, limit = judgement.measurement.value, judgement.limit
    if value is None or judgement.outcome is not Outcome.FAIL:
        return {}
    side = "low" if limit.low is not None and value < limit.low else "high"
    return {"metric": judgement.measurement.metric, "bound": side}
