"""A run folder as one side of a comparison: its timed rounds, its other figures, its outcomes, its machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from plimsoll.compare.benchmark_rows import read_row
from plimsoll.compare.machine import machine_of_run
from plimsoll.compare.side import TIME, CellState, Key, OnGpus, Side, SideFigure, SideKind, Timed, pooled
from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.record import Cell, RunRecord
from plimsoll.judge.judgement import Measurement
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.verdict.verdict import reach_verdict

_OF_THE_MOMENT: Final = "free_"
"""Metrics that say what the node had free: a fact of the moment, which is judged but never compared."""


_RENAMED: Final = {
    "test_close_to_bf16": "test_close_to_16_bit",
    "test_ram_after_loading": "test_ram_held",
    "test_not_offloaded": "test_placed_as_asked",
    "test_memory_returns": "test_ram_returns",
}
"""Checks as evidence of earlier versions calls them -> what they are called now: comparisons pair by name."""


def _today(cell: str) -> str:
    """The id of a cell as this version has it."""
    head, colons, rest = cell.partition("::")
    name, bracket, parameter = rest.partition("[")
    return f"{head}{colons}{_RENAMED.get(name, name)}{bracket}{parameter}"


def read_run_side(path: Path, *, allow_damaged: bool = False) -> Side:
    """The side that a run folder or an evidence file holds.

    Raises PlimsollError where there is no evidence, or where lines of it are damaged or missing and `allow_damaged`
    does not excuse that: what cannot be read may be what became slower.
    """
    record = read_run(path)
    if record.faults and not allow_damaged:
        more = f" (and {len(record.faults) - 1} more)" if len(record.faults) > 1 else ""
        raise PlimsollError(
            f"the evidence of {path} is damaged: {record.faults[0]}{more}; "
            "use --allow-damaged to compare what can still be read"
        )
    return side_of_run(record)


def side_of_run(record: RunRecord) -> Side:
    """The side that a record holds. Raises PlimsollError for a benchmark row that contradicts itself."""
    planned = {cell.id: cell for cell in record.plan}
    rows = [read_row(row, f"{record.run_id}: benchmark {i + 1}") for i, row in enumerate(record.benchmarks)]
    timed, notes = pooled(_placed(row, planned.get(row.cell)) for row in rows)
    verdict = reach_verdict(record)
    faults = tuple(f"not accepted: {fault}" for fault in verdict.faults)
    figures, single = _figures(record, timed)
    timed = {**timed, **single}
    return Side(
        name=record.run_id,
        path=record.folder,
        kind=SideKind.RUN,
        machine=machine_of_run(record, verdict.scope, tuple(timed.values())),
        verdict=verdict.word.value,
        cells={
            _today(result.cell.id): CellState(outcome=result.outcome, reason=result.reason, variant=result.cell.variant)
            for result in verdict.results
        },
        timed=timed,
        figures=figures,
        on=_on_gpus(record),
        bits=_bits(record),
        notes=(*notes, *faults),
    )


def _on_gpus(record: RunRecord) -> dict[str, OnGpus]:
    """The GPUs of each planned check, in a record of one node: ids of GPUs mean others elsewhere."""
    found: dict[str, OnGpus] = {}
    for run in record.runs:
        known = {gpu.id: gpu for gpu in run.gpus}
        for cell in run.plan:
            gpus = [known[gpu] for gpu in cell.gpus if gpu in known]
            if gpus:
                uuids, products = [gpu.uuid for gpu in gpus], [gpu.name for gpu in gpus]
                found[_today(cell.id)] = OnGpus(
                    uuids=tuple(uuid for uuid in uuids if uuid is not None) if all(uuids) else None,
                    products=tuple(name for name in products if name is not None) if all(products) else None,
                )
    return found


def _placed(row: Timed, cell: Cell | None) -> Timed:
    """The row with what the plan knows of its cell: which metric the rounds are of, and whose weights were loaded."""
    if cell is None:
        return row
    times = [metric for metric in cell.measures if metric in METRICS and METRICS[metric].unit == "s"]
    metric = times[0] if len(times) == 1 else TIME
    return replace(row, metric=metric, variant=cell.variant or row.variant, weights=cell.weights)


def _figures(record: RunRecord, timed: Mapping[Key, Timed]) -> tuple[dict[Key, SideFigure], dict[Key, Timed]]:
    """The other measurements: figures with one value, and times and rates that were taken once, as one round each."""
    variants = {cell.id: cell for cell in record.plan}
    figures: dict[Key, SideFigure] = {}
    single: dict[Key, Timed] = {}
    for recorded_id, evidence in record.cells.items():
        cell, cell_id = variants.get(recorded_id, Cell(id=recorded_id)), _today(recorded_id)
        for measured in evidence.measurements:
            measurement = measured.measurement
            key = (cell_id, measurement.metric)
            if key in timed or measurement.metric.startswith(_OF_THE_MOMENT):
                continue
            value = measurement.value
            if _is_timed(measurement) and value is not None and math.isfinite(value) and value > 0:
                single[key] = Timed(
                    cell=cell_id,
                    metric=measurement.metric,
                    unit=measurement.unit,
                    rounds=(value,),
                    median=value,
                    variant=cell.variant,
                    weights=cell.weights,
                )
            else:
                figures[key] = SideFigure(
                    cell=cell_id,
                    metric=measurement.metric,
                    unit=measurement.unit,
                    value=value,
                    reason=measurement.reason,
                    variant=cell.variant,
                )
    return figures, single


def _is_timed(measurement: Measurement) -> bool:
    """True for times and rates of a variant. Speeds of a device are judged by its floor, and a run has one of each."""
    unit, metric = measurement.unit, METRICS[measurement.metric]
    return (unit == "s" or unit.endswith("/s")) and metric.kind is not MetricKind.NODE


def _bits(record: RunRecord) -> dict[str, dict[str, str]]:
    """The digests of logits that checks recorded beside what they judged."""
    found: dict[str, dict[str, str]] = {}
    for cell, evidence in record.cells.items():
        for measured in evidence.measurements:
            digests = measured.context.get("digests")
            if isinstance(digests, dict):
                found[_today(cell)] = {str(way): str(digest) for way, digest in digests.items()}
            elif isinstance(whole := measured.context.get("logits_sha256"), str):
                found[_today(cell)] = {"all ways": whole}
    return found
