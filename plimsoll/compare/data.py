"""comparison.json: everything that a comparison found, for programs.

The structure is versioned and described by a JSON Schema that ships with the package. The same inputs give the same
bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from plimsoll.compare.fail_on import Breach, FailCondition
from plimsoll.compare.result import Comparison, FigureRow, TimeRow, Versus
from plimsoll.compare.side import Side, SideFigure, Timed
from plimsoll.evidence.encoding import encode

SCHEMA: Final = "plimsoll/comparison/1"
"""The value of `schema` in the file; a change that breaks a reader raises the number."""


def comparison_text(
    comparison: Comparison, conditions: Sequence[FailCondition], found: Sequence[Breach], exit_status: int
) -> str:
    """The file as text. `conditions` are those of `--fail-on`, `found` what was found of them."""
    data = {
        "schema": SCHEMA,
        "rule": asdict(comparison.rule),
        "tests": comparison.tests,
        "sides": [_side(side) for side in comparison.sides],
        "likes": [_side(side) for side in comparison.likes],
        "differences": [{"label": d.label, "texts": d.texts} for d in comparison.differences],
        "versus": [_versus(versus) for versus in comparison.versus],
        "fail_on": [condition.value for condition in conditions],
        "findings": [{"condition": finding.condition.value, "text": finding.text} for finding in found],
        "exit_status": exit_status,
    }
    return json.dumps(encode(data), indent=2, allow_nan=False) + "\n"


def _side(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "kind": side.kind.value,
        "verdict": side.verdict,
        "gpus": side.machine.gpus,
        "processor": side.machine.cpu,
        "facts": {label: fact.text for label, fact in side.machine.facts.items()},
        "times": len(side.timed),
        "cells": None if side.cells is None else len(side.cells),
        "notes": side.notes,
    }


def _versus(versus: Versus) -> dict[str, Any]:
    return {
        "base": versus.base.name,
        "other": versus.other.name,
        "unlike": versus.unlike,
        "overall": versus.overall,
        "variance_factor": versus.variance_factor,
        "steadiness": versus.steadiness,
        "times": [_time(row) for row in versus.times],
        "memory": [_figure_row(row) for row in versus.memory],
        "speeds": [_figure_row(row) for row in versus.speeds],
        "figures": [_figure_row(row) for row in versus.figures],
        "missing": [asdict(entry) for entry in versus.missing],
        "added": [asdict(entry) for entry in versus.added],
        "mismatched": [asdict(entry) for entry in versus.mismatched],
        "outcomes": [asdict(entry) for entry in versus.outcomes],
        "numerics": [asdict(entry) for entry in versus.numerics],
        "verdict_is_worse": versus.verdict_is_worse,
    }


def _time(row: TimeRow) -> dict[str, Any]:
    return {
        "cell": row.base.cell,
        "variant": row.base.variant,
        "metric": row.base.metric,
        "unit": row.base.unit,
        "word": row.word.value,
        "why": row.why,
        "ratio": row.ratio,
        "interval": None if row.interval is None else [row.interval.low, row.interval.high],
        "p": row.p,
        "p_adjusted": row.p_adjusted,
        "cliffs_delta": row.delta,
        "noise": row.noise,
        "rounds_to_find": row.to_find,
        "rounds_for_same": row.for_same,
        "base": _rounds(row.base),
        "other": _rounds(row.other),
    }


def _rounds(timed: Timed) -> dict[str, Any]:
    return {"median": timed.median, "rounds": timed.rounds}


def _figure_row(row: FigureRow) -> dict[str, Any]:
    return {
        "cell": row.base.cell,
        "variant": row.base.variant,
        "metric": row.base.metric,
        "unit": row.base.unit,
        "word": row.level.value,
        "change": row.change,
        "base": _value(row.base),
        "other": _value(row.other),
    }


def _value(figure: SideFigure) -> dict[str, Any]:
    return {"value": figure.value, "reason": figure.reason}
