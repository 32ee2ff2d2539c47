"""uncertainty.json: everything that an analysis found, for programs.

The structure is versioned and described by a JSON Schema that ships with the package. The same evidence gives the same
bytes.
"""

from __future__ import annotations

import json
from typing import Any, Final

from plimsoll.evidence.encoding import encode
from plimsoll.statistics.auroc import CONFIDENCE, FEWEST, FEWEST_OF_A_KIND, RESAMPLES, Auroc
from plimsoll.statistics.interval import Interval
from plimsoll.uncertainty.analysis import Analysis, beside
from plimsoll.uncertainty.answer_sets import AnswerSet
from plimsoll.uncertainty.comparing import ALPHA, Compared
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.reliability import Proportion, Reliability

SCHEMA: Final = "plimsoll/uncertainty/1"
"""The value of `schema` in the file; a change that breaks a reader raises the number."""


def analysis_text(analysis: Analysis) -> str:
    """uncertainty.json."""
    setting = analysis.setting
    data = {
        "schema": SCHEMA,
        "runs": analysis.run_ids,
        "setting": {
            "scores": [score.value for score in setting.scores],
            "similarity": setting.similarity.name,
            "with_end": setting.with_end,
            "correct": None if setting.rule is None else str(setting.rule),
            "confidence": CONFIDENCE,
            "alpha": ALPHA,
            "resamples": RESAMPLES,
            "fewest_answers": FEWEST,
            "fewest_of_a_kind": FEWEST_OF_A_KIND,
        },
        "results": [_result(analysis, result) for result in analysis.results],
        "comparisons": [_compared(row) for row in analysis.comparisons],
        "questions": [
            {"id": a.question.value, "question": a.question.text, "is_measured": a.is_measured, "answer": a.text}
            for a in analysis.answers
        ],
        "notes": analysis.notes,
    }
    return json.dumps(encode(data), indent=2, allow_nan=False) + "\n"


def _result(analysis: Analysis, result: Result) -> dict[str, Any]:
    published = analysis.published.get((result.asked.asking.variant, result.asked.asking.dataset), ())
    return {
        **_identity(result.asked),
        "correct": str(result.rule),
        "answers": len(result.asked.answers),
        "problem": result.reason,
        "accuracy": _proportion(result.accuracy),
        "auroc": {score.value: _auroc(found) for score, found in result.aurocs.items()},
        "auroc_withheld": {score.value: _auroc(found) for score, found in result.known.items()},
        "reliability": _reliability(result.reliability),
        "published": [
            {
                "low": figure.low,
                "high": figure.high,
                "source": figure.source,
                "conditions": dict(figure.conditions),
                "beside": beside(result, figure),
            }
            for figure in published
        ],
    }


def _identity(asked: AnswerSet) -> dict[str, Any]:
    asking = asked.asking
    names = ("variant", "model", "family", "quantization", "tuned_from", "parameters", "dataset", "fingerprint")
    more = ("source", "revision", "split", "available", "chosen", "seed", "shots", "samples", "temperature")
    return {**{name: getattr(asking, name) for name in (*names, *more)}, "run": asked.run_id}


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _proportion(found: Proportion | None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "interval": None}
    return {"value": found.value, "interval": _interval(found.interval)}


def _auroc(found: Auroc) -> dict[str, Any]:
    return {
        "value": found.value,
        "interval": _interval(found.interval),
        "answers": found.answers,
        "positives": found.positives,
        "reason": found.reason,
    }


def _reliability(found: Reliability | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "expected_calibration_error": found.error,
        "brier": found.brier,
        "bins": [
            {
                "low": b.low,
                "high": b.high,
                "confidence": b.confidence,
                "accuracy": b.right.value,
                "interval": _interval(b.right.interval),
                "answers": b.right.answers,
            }
            for b in found.bins
        ],
    }


def _compared(row: Compared) -> dict[str, Any]:
    difference = row.difference
    return {
        "question": row.question.value,
        "figure": row.figure,
        "score": None if row.score is None else row.score.value,
        "first": {"variant": row.first.asked.asking.variant, "dataset": row.first.asked.asking.dataset},
        "second": {"variant": row.second.asked.asking.variant, "dataset": row.second.asked.asking.dataset},
        "difference": None if difference is None else difference.value,
        "interval": None if difference is None else _interval(difference.interval),
        "p": None if difference is None else difference.p,
        "p_adjusted": row.p_adjusted,
        "test": None if difference is None else difference.test,
        "word": row.word,
        "reason": row.reason,
        "also": row.also,
    }
