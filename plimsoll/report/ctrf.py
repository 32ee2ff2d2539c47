"""ctrf.json: the results in the Common Test Report Format (https://ctrf.io), for servers that read it beside JUnit.

The format knows five statuses. A check that was skipped or not run is never `passed` there, nor is a waived one, which
is `other`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from plimsoll.evidence.encoding import encode
from plimsoll.evidence.record import RunRecord
from plimsoll.report.node_card import distinct_nodes
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import Verdict

CTRF_FILE: Final = "ctrf.json"

_SPEC: Final = "0.0.0"
_STATUS: Final = {
    CellOutcome.PASS: "passed",
    CellOutcome.MARGINAL: "passed",
    CellOutcome.FAIL: "failed",
    CellOutcome.SKIP: "skipped",
    CellOutcome.NOT_RUN: "pending",
    CellOutcome.WAIVED: "other",
}


def ctrf_text(record: RunRecord, verdict: Verdict) -> str:
    """The file as text; twice the same from the same evidence."""
    return json.dumps(encode(_report(record, verdict)), indent=1, allow_nan=False) + "\n"


def _report(record: RunRecord, verdict: Verdict) -> dict[str, Any]:
    statuses = [_STATUS[result.outcome] for result in verdict.results]
    counts = {status: statuses.count(status) for status in ("passed", "failed", "pending", "skipped", "other")}
    start = _milliseconds(None if record.run is None else record.run.started)
    stop = _milliseconds(None if record.finish is None else record.finish.at)
    return {
        "reportFormat": "CTRF",
        "specVersion": _SPEC,
        "results": {
            "tool": {"name": "plimsoll", **({} if record.run is None else {"version": record.run.plimsoll})},
            "summary": {
                "tests": len(statuses),
                **counts,
                "start": start or 0,
                "stop": stop or start or 0,
                "extra": {
                    "verdict": verdict.word.value,
                    "statement": verdict.statement,
                    "exit_status": verdict.exit_status,
                    "ended": record.finish is not None,
                    "faults": list(verdict.faults),
                },
            },
            "tests": [_test(result) for result in verdict.results],
            "environment": {
                "testEnvironment": ", ".join(node.hostname for node in distinct_nodes(record)),
                "extra": {"run": record.run_id, "scope": verdict.scope},
            },
        },
    }


def _test(result: CellResult) -> dict[str, Any]:
    file, _, name = result.cell.id.partition("::")
    test: dict[str, Any] = {
        "name": name or result.cell.id,
        "status": _STATUS[result.outcome],
        "duration": round(1000 * (result.duration or 0.0)),
        "rawStatus": result.outcome.value,
        "suite": [file],
        "filePath": file,
        "extra": {
            "gpu": result.cell.gpu,
            "code": result.code,
            "fix": result.fix,
            "figures": [str(judgement) for judgement in result.judgements],
        },
    }
    return {**test, "message": result.reason} if result.reason else test


def _milliseconds(at: str | None) -> int | None:
    try:
        return None if at is None else round(1000 * datetime.fromisoformat(at).timestamp())
    except ValueError:
        return None
