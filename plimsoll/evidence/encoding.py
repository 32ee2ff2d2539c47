"""Converts values to the fields of events, and back.

Writing and reading stand side by side so that neither can drift. Standard JSON has no NaN and no infinities, so these
are written as the strings `"NaN"`, `"Infinity"` and `"-Infinity"`; `null` always means that there is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from plimsoll.catalogue.entries import LimitedSide
from plimsoll.judge.judgement import Judgement, Limit, Measurement, Outcome, judge
from plimsoll.metrics import METRICS
from plimsoll.symptoms.recognise import Diagnosis

_NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DEEPEST: Final = 64
"""Levels of nesting that are written; deeper ones are cut, so that a value that contains itself cannot hang a run."""


RAISED_BY: Final = "plimsoll_raised_by"
"""The attribute of a test report that names the plugin whose own error it has: one of neither the suite nor pytest."""
SYMPTOMS: Final = "plimsoll_symptoms"
"""The attribute of a test report that holds its diagnoses."""


def read_diagnoses(report: Mapping[str, Any]) -> tuple[Diagnosis, ...] | None:
    """The diagnoses of a report; None where none were recorded, or where they cannot be read."""
    listed = report.get(SYMPTOMS)
    if not isinstance(listed, list):
        return None
    try:
        return tuple(Diagnosis.from_json(each) for each in listed)
    except (TypeError, AttributeError):
        return None


def encode(value: object, redact: Callable[[str], str] = str) -> Any:
    """The value as standard JSON data, every text passed through `redact`.

    Tuples become lists, paths and mapping keys become texts, numbers that JSON lacks become their names. What JSON has
    no form for becomes `"<not JSON: type>"`: evidence is written while tests run, and must not make one fail.
    """
    return _encode(value, redact, 0)


def _encode(value: object, redact: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return _text(value, redact)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _name_of(value)
    if depth < _DEEPEST:
        if isinstance(value, (list, tuple)):
            return [_encode(item, redact, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {_text(_key(key), redact): _encode(item, redact, depth + 1) for key, item in value.items()}
    if hasattr(value, "__fspath__"):
        return _encode(str(value), redact, depth)
    return f"<not JSON: {type(value).__name__}>"


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(key)


def _text(text: str, redact: Callable[[str], str]) -> str:
    if type(text) is not str or not text.isascii():
        # A lone surrogate, as file names may hold, has no UTF-8 form and would break every reader. A member of an
        # enumeration is written as its value, whatever `str` makes of it.
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return redact(text)


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def decode_number(value: object) -> float | None:
    """A number that `encode` wrote; None stays None. Raises TypeError for anything else."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    raise TypeError(f"{value!r} is not a number")


def measurement_fields(measurement: Measurement, context: Mapping[str, object] | None = None) -> dict[str, Any]:
    """The fields of a MEASUREMENT event, without the cell; `context` says how it was measured, as JSON data."""
    return {
        "metric": measurement.metric,
        "value": measurement.value,
        "unit": measurement.unit,
        "reason": measurement.reason,
        "context": dict(context or {}),
    }


def read_measurement(fields: Mapping[str, Any]) -> Measurement:
    """Read back what `measurement_fields` gave. Raises KeyError, TypeError or ValueError for invalid fields."""
    if fields["metric"] not in METRICS:
        raise ValueError(f"{fields['metric']!r} is no metric that this version knows")
    value = decode_number(fields["value"])
    reason = fields.get("reason") or ("" if value is not None else "no reason was recorded")
    measurement = Measurement(metric=fields["metric"], value=value, reason=reason)
    if fields["unit"] != measurement.unit:
        raise ValueError(f"{measurement.metric} is in {fields['unit']!r}, but its unit is {measurement.unit!r}")
    return measurement


def judgement_fields(judgement: Judgement) -> dict[str, Any]:
    """The fields of a JUDGEMENT event, without the cell."""
    return {
        "metric": judgement.measurement.metric,
        "value": judgement.measurement.value,
        "unit": judgement.measurement.unit,
        "reason": judgement.measurement.reason,
        "low": judgement.limit.low,
        "high": judgement.limit.high,
        "source": judgement.limit.source,
        "margin": judgement.limit.margin,
        "outcome": judgement.outcome.value,
        "headroom": judgement.headroom,
        "text": str(judgement),
    }


def read_judgement(fields: Mapping[str, Any]) -> Judgement:
    """Judge the recorded value by the recorded limit once more.

    Raises KeyError, TypeError or ValueError for invalid fields, and ValueError where the recorded outcome does not
    follow from the recorded figures: a verdict depends on figures, not on the recorded word.
    """
    measurement = read_measurement(fields)
    limit = Limit(
        metric=measurement.metric,
        low=decode_number(fields["low"]),
        high=decode_number(fields["high"]),
        source=fields["source"],
        margin=fields["margin"],
    )
    judgement = judge(measurement, limit)
    if judgement.outcome is not Outcome(fields["outcome"]):
        raise ValueError(f"{limit.metric} is recorded as {fields['outcome']}, but its figures say {judgement.outcome}")
    return judgement


def read_bounds(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The bounds of a metric in a GATE event, their figures as numbers. Raises TypeError for what is no number."""
    return {**fields, **{side: decode_number(fields.get(side)) for side in ("least", "expected", "most")}}


def read_claim(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A claim in a GATE event, its figures as numbers. Raises KeyError, TypeError or ValueError for an invalid one."""
    return {
        **fields,
        "metric": str(fields["metric"]),
        "low": decode_number(fields.get("low")),
        "high": decode_number(fields.get("high")),
        "limits": LimitedSide(fields.get("limits") or LimitedSide.BOTH),
        "conditions": dict(fields.get("conditions") or {}),
        "bounds": read_bounds(fields.get("bounds") or {}),
    }
