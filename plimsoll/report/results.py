"""The files of a run for programs: results.json, everything that it came to, and benchmark.json, its timings.

The structure of results.json is versioned and described by a JSON Schema that ships with the package. Both hold nothing
but what follows from the evidence, so they come out the same however often they are made. benchmark.json has
pytest-benchmark's own format, so that its tools and every service that reads it can; pytest-benchmark itself writes no
file under xdist, and none for a run that was killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final

from plimsoll.evidence.encoding import encode, judgement_fields, measurement_fields
from plimsoll.evidence.record import RunGpu, RunRecord
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import Gap, Verdict

SCHEMA: Final = "plimsoll/results/1"
"""The value of `schema` in results.json; a change that breaks a reader raises the number."""

_FAILED_STATES: Final = ("died", "timeout")


def results(record: RunRecord, verdict: Verdict) -> dict[str, Any]:
    """The content of results.json as standard JSON data."""
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": _verdict(verdict),
        "run": _run(record),
        "parts": [{"run": _run(part), "node": _node(part)} for part in record.parts],
        "node": _node(record),
        "gpus": [_gpu(gpu) | {"used": gpu.used} for gpu in record.gpus],
        "cells": [_cell(result, _gpus_of(record, result)) for result in verdict.results],
        "loads": [{"variant": load.variant, "cache": load.cache, "report": load.report} for load in record.loads],
        "health": [_health(seen) for seen in record.health],
        "gates": [
            {
                "variant": gate.variant,
                "decision": gate.decision,
                "code": gate.code,
                "have": gate.have,
                "need": gate.need,
                "fix": gate.fix,
                "text": gate.text,
            }
            for gate in record.gates.values()
        ],
        "host_failures": [host for host in record.hosts if host.get("state") in _FAILED_STATES],
        "collect_errors": [{"nodeid": error.nodeid, "text": error.text} for error in record.collect_errors],
        "files": [{"name": file.path.name, "bytes": file.bytes, "sha256": file.sha256} for file in record.files],
    }
    encoded: dict[str, Any] = encode(data)
    return encoded


def _health(seen: Mapping[str, Any]) -> dict[str, Any]:
    """A HEALTH event without what belongs to its line."""
    return {name: value for name, value in seen.items() if name in _HEALTH_FIELDS}


_HEALTH_FIELDS: Final = (
    *("variant", "gpus", "seconds", "samples", "first", "last", "extremes", "xids", "earlier_xids"),
    *("findings", "unread", "memory"),
)


def results_text(record: RunRecord, verdict: Verdict) -> str:
    """results.json as text."""
    return json.dumps(results(record, verdict), indent=2, allow_nan=False) + "\n"


def results_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of results.json."""
    text = resources.files("plimsoll.report").joinpath("schemas", "results-1.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "word": verdict.word.value,
        "statement": verdict.statement,
        "scope": verdict.scope,
        "exit_status": verdict.exit_status,
        "planned": verdict.planned,
        "counts": {outcome.value: verdict.count(outcome) for outcome in CellOutcome},
        "allow_incomplete": verdict.allow_incomplete,
        "faults": verdict.faults,
        "notes": verdict.notes,
        "gaps": [_gap(gap) for gap in verdict.gaps],
        "conflicts": [
            {
                "cell": conflict.cell,
                "readings": [
                    {
                        "run": reading.result.run_id,
                        "node": reading.node,
                        "outcome": reading.result.outcome.value,
                        "reason": reading.result.reason,
                    }
                    for reading in conflict.readings
                ],
            }
            for conflict in verdict.conflicts
        ],
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "outcome": gap.outcome.value,
        "code": gap.code,
        "reasons": gap.reasons,
        "fix": gap.fix,
        "cells": gap.cells,
    }


def _node(record: RunRecord) -> dict[str, Any] | None:
    return None if record.node is None else record.node.to_json()


def _run(record: RunRecord) -> dict[str, Any]:
    head, end = record.run, record.finish
    return {
        "id": record.run_id,
        "plimsoll": None if head is None else head.plimsoll,
        "started": None if head is None else head.started,
        "arguments": None if head is None else head.arguments,
        "selection": None if head is None else head.selection,
        "catalogues": None if head is None else head.catalogues,
        "limits_are_shipped": None if head is None else head.limits_are_shipped,
        "resumes": None if head is None or head.resumes is None else head.resumes.run_id,
        "deselected": record.deselected,
        "finished": None if end is None else end.at,
        "exitstatus": None if end is None else end.exitstatus,
        "interrupted": None if end is None else end.interrupted,
        "reason": None if end is None else end.reason,
    }


def _waiver(result: CellResult) -> dict[str, Any] | None:
    if result.waiver is None or result.waived is None:
        return None
    waiver = result.waiver
    return {
        "outcome": result.waived.value,
        "who": waiver.who,
        "why": waiver.why,
        "until": waiver.until.isoformat(),
        "cells": waiver.cells,
        "where": waiver.where,
    }


def _gpus_of(record: RunRecord, result: CellResult) -> Sequence[RunGpu]:
    """Those of the run that the result is from."""
    return next((run.gpus for run in record.runs if run.run_id == result.run_id), record.gpus)


def _gpu(gpu: RunGpu) -> dict[str, Any]:
    return {"id": gpu.id, "index": gpu.index, "uuid": gpu.uuid, "serial": gpu.serial, "name": gpu.name}


def _cell(result: CellResult, gpus: Sequence[RunGpu]) -> dict[str, Any]:
    return {
        **result.cell.to_json(),
        "gpus": [_gpu(gpu) for gpu in gpus if gpu.id in result.cell.gpus],
        "run": result.run_id,
        "outcome": result.outcome.value,
        "waiver": _waiver(result),
        "reason": result.reason,
        "code": result.code,
        "fix": result.fix,
        "duration": result.duration,
        "diagnoses": [diagnosis.to_json() for diagnosis in result.diagnoses],
        "judgements": [judgement_fields(judgement) for judgement in result.judgements],
        "measurements": [measurement_fields(m.measurement, m.context) for m in result.measurements],
    }


def benchmarks(record: RunRecord) -> dict[str, Any]:
    """The content of benchmark.json; a run that was killed early may lack the description of the machine."""
    machine = record.machine or {"machine_info": {}, "commit_info": {}, "version": None}
    content: dict[str, Any] = encode(
        {
            "machine_info": machine["machine_info"],
            "commit_info": machine["commit_info"],
            "benchmarks": record.benchmarks,
            "datetime": None if record.run is None else record.run.started,
            "version": machine["version"],
        }
    )
    return content


def benchmark_text(record: RunRecord) -> str:
    """benchmark.json as text."""
    return json.dumps(benchmarks(record), indent=4, allow_nan=False) + "\n"
