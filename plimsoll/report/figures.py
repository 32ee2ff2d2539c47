"""Measured values and their limits as a page has them: in one unit and three digits, the exact ones in tooltips."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from plimsoll.judge.judgement import Judgement, Limit, Measurement
from plimsoll.metrics import METRICS
from plimsoll.present.document import Span, Style
from plimsoll.present.foreign_text import one_line
from plimsoll.units import format_brief, format_exact, format_measured

_SHARES: Final = ("behind_others", "bandwidth_share", "taught_accuracy", "quantized_fraction", "dataset_accuracy")
"""Parts of a whole, which people read in per cent."""

_REASON: Final = 300
"""Characters of why something was not measured."""


def brief_value(measurement: Measurement) -> Span:
    """The value, exactly for a pointer on it; what was not measured says so and why, for who has no pointer too."""
    value, unit = measurement.value, measurement.unit
    if value is None:
        return Span(text=f"not measured: {one_line(measurement.reason, _REASON)}", style=Style.STRONG)
    return Span(text=brief(value, measurement.metric), style=Style.STRONG, title=format_exact(value, unit))


def brief_bytes(count: float) -> Span:
    """A size, exactly and in the other unit for a pointer on it."""
    return Span(text=format_brief(count, "bytes"), title=format_exact(count, "bytes"))


def brief_figure(value: float, metric: str) -> Span:
    """A value of a metric, exactly for a pointer on it."""
    return Span(text=brief(value, metric), title=format_exact(value, METRICS[metric].unit))


def brief(value: float, metric: str) -> str:
    """A value of a metric in one unit and three digits; a share in per cent."""
    if metric in _SHARES and math.isfinite(value):
        return f"{format_brief(100 * value, '1')} %"
    return format_brief(value, METRICS[metric].unit)


@lru_cache(maxsize=1024)  # the GPUs of a node, and the nodes of a fleet, are held to the same few
def brief_limit(limit: Limit) -> Span:
    """`at least 584 TFLOP/s`, with its source for a pointer on it."""
    return Span(text=limit_text(limit), style=Style.FAINT, title=f"{exact_limit(limit)} [{limit.source}]")


def limit_text(limit: Limit) -> str:
    """The bounds as `str(limit)` has them, in one unit and three digits."""
    return _bounds(limit, lambda bound: brief(bound, limit.metric))


def exact_limit(limit: Limit) -> str:
    """The bounds as they are, in the other unit too."""
    return _bounds(limit, lambda bound: format_exact(bound, METRICS[limit.metric].unit))


def _bounds(limit: Limit, form: Callable[[float], str]) -> str:
    low, high = (None if bound is None else form(bound) for bound in (limit.low, limit.high))
    if limit.is_exact:
        return f"exactly {low}"
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"


def beside_limit(judgement: Judgement) -> tuple[str, str]:
    """Value and limit of a judgement as texts that differ where the figures do: `5.09 GB` and `at most 3.56 GB`."""
    value, unit = judgement.measurement.value, judgement.measurement.unit
    if value is None:
        return "not measured", limit_text(judgement.limit)
    metric, bounds = judgement.measurement.metric, (judgement.limit.low, judgement.limit.high)
    text = brief(value, metric)
    if any(bound is not None and bound != value and brief(bound, metric) == text for bound in bounds):
        return format_measured(value, unit), _bounds(judgement.limit, lambda bound: format_measured(bound, unit))
    return text, limit_text(judgement.limit)


def room_text(judgement: Judgement) -> str:
    """How far inside or outside of its limit a value lies: `12 % inside`, `2,370 times the limit`."""
    return judgement.room.replace(".0%", " %").replace("%", " %").replace("  %", " %") or "–"


def over_by(judgement: Judgement) -> str:
    """How far outside: `43 %`, `2,370 times the limit`; empty where there is no telling."""
    return room_text(judgement).removesuffix(" outside") if judgement.room else ""


def figure_sentence(judgement: Judgement) -> str:
    """A judgement for people: `Peak GPU memory 5.09 GB, at most 3.56 GB (43 % outside)`."""
    text, limit = beside_limit(judgement)
    room = f" ({room_text(judgement)})" if judgement.room else ""
    return f"{METRICS[judgement.measurement.metric].title} {text}, {limit}{room}"
