"""Values against limits: what is inside passes, what is near is marginal, what is missing or not a number fails."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.judging import Judge
from fixtures.run import Run
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.judge.judgement import Limit, Measurement, Outcome, judge

FINITE = st.floats(min_value=-1e15, max_value=1e15)


def outcome_of(value: float | None, **limit: float) -> Outcome:
    measurement = Measurement(metric="ram_peak", value=value, reason="" if value is not None else "no meter")
    return judge(measurement, Limit(metric="ram_peak", source="a test", **limit)).outcome


@pytest.mark.parametrize(
    ("value", "limit", "outcome"),
    [
        (5.0, {"low": 0, "high": 10}, Outcome.PASS),
        (0.0, {"low": 0, "high": 10}, Outcome.PASS),
        (10.0, {"low": 0, "high": 10}, Outcome.PASS),
        (10.1, {"low": 0, "high": 10}, Outcome.FAIL),
        (-0.1, {"low": 0, "high": 10}, Outcome.FAIL),
        (9.9, {"high": 10, "margin": 0.05}, Outcome.MARGINAL),
        (9.4, {"high": 10, "margin": 0.05}, Outcome.PASS),
        (10.4, {"low": 10, "margin": 0.05}, Outcome.MARGINAL),
        (7.0, {"low": 7, "high": 7}, Outcome.PASS),
        (7.0000001, {"low": 7, "high": 7}, Outcome.FAIL),
        (math.nan, {"low": 0, "high": 10}, Outcome.FAIL),
        (math.inf, {"low": 0}, Outcome.FAIL),
        (-math.inf, {"high": 0}, Outcome.FAIL),
        (None, {"low": 0, "high": 10}, Outcome.UNSET),
    ],
)
def test_outcome(value: float | None, limit: dict[str, float], outcome: Outcome) -> None:
    assert outcome_of(value, **limit) is outcome


@given(FINITE, FINITE, FINITE, st.floats(min_value=0, max_value=0.99))
def test_good_means_inside_and_nothing_else(value: float, one: float, other: float, margin: float) -> None:
    low, high = min(one, other), max(one, other)
    assert outcome_of(value, low=low, high=high, margin=margin).is_good == (low <= value <= high)


def test_no_answer_is_never_good() -> None:
    assert not Outcome.UNSET.is_good
    with pytest.raises(ValueError, match="needs the reason"):
        Measurement(metric="ram_peak", value=None)


def test_a_failed_bound_prints_value_limits_and_source() -> None:
    limit = Limit(metric="ram_peak", low=0, high=2**30, source="the data sheet")
    text = str(judge(Measurement(metric="ram_peak", value=2**31), limit))
    assert text == (
        "fail: ram_peak 2.15 GB (2.00 GiB); limit 0 bytes to 1.07 GB (1.00 GiB), 2.0 times the limit [the data sheet]"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "needs low or high"),
        ({"low": 2, "high": 1}, "above high"),
        ({"high": math.nan}, "must be finite"),
        ({"high": math.inf}, "must be finite"),
        ({"high": 1, "margin": 1.0}, "margin"),
        ({"high": 1, "source": ""}, "needs a source"),
    ],
)
def test_a_limit_checks_itself(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Limit(**{"metric": "ram_peak", "source": "a test", **arguments})  # type: ignore[arg-type]


def test_unknown_metrics_and_mixed_ones_are_refused() -> None:
    with pytest.raises(KeyError, match="not a metric"):
        Measurement(metric="ram_peek", value=1)
    with pytest.raises(ValueError, match="cannot be judged by a limit on"):
        judge(Measurement(metric="ram_peak", value=1), Limit(metric="ram_after", high=1, source="a test"))


@pytest.mark.parametrize(
    ("value", "low", "high", "room"),
    [
        (1.5, None, 2.0, "25.0% inside"),
        (2.5, None, 2.0, "25.0% outside"),
        (5.0, None, 2.0, "2.5 times the limit"),
        (4740.0, None, 2.0, "2,370 times the limit"),
        (0.0, 0.375, None, "100.0% outside"),
        (-1.0, 0.375, None, "366.7% outside"),
        (3.0, 2.0, None, "50.0% inside"),
        (400.0, 2.0, None, "200 times the least that is allowed"),
    ],
)
def test_how_far_a_value_lies_is_said_in_numbers_that_people_read(
    value: float, low: float | None, high: float | None, room: str
) -> None:
    limit = Limit(metric="load_time", low=low, high=high, source="x")
    assert judge(Measurement(metric="load_time", value=value), limit).room == room


def test_a_figure_that_was_measured_has_no_reason_why_it_was_not() -> None:
    run = Run(catalogue=read_catalogue(), worker="main", folder=None, evidence=None)
    of_a_check = Judge(cell="test_token_time[a/bf16]", run=run, variant=None)
    measured = of_a_check.note("token_time", 0.5, reason="no round was recorded")
    missing = of_a_check.note("token_time", None, reason="no round was recorded")
    of_a_check.limit("token_time", 0.5, high=1, source="here", reason="no round was recorded")
    assert (measured.reason, missing.reason) == ("", "no round was recorded")
    assert of_a_check.judgements[0].measurement.reason == ""
