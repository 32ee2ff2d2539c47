"""The table of GPUs in the verdict's document: which card each is, what it carried, and how its checks ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from plimsoll.catalogue.entries import without_gpus
from plimsoll.evidence.record import RunGpu, RunRecord
from plimsoll.present.document import Section, Table, Words, code, columns
from plimsoll.verdict.cells import CellOutcome, CellResult

_HEAD = ("GPU", "product", "UUID", "serial", "carried", "checks")


def gpu_table(record: RunRecord, results: Sequence[CellResult]) -> list[Section]:
    """One section for each run that could use several GPUs: figures of a check belong to the GPU that its id names."""
    sections = []
    for run in record.runs:
        own = [result for result in results if result.run_id in (None, run.run_id)]
        if len(run.gpus) > 1 and any(result.cell.gpus for result in own):
            title = "GPUs" if not record.parts else f"GPUs of {run.run_id}"
            rows = tuple(_row(gpu, [result for result in own if gpu.id in result.cell.gpus]) for gpu in run.gpus)
            sections.append(Section(title=title, blocks=(Table(columns=columns(*_HEAD), rows=rows),)))
    return sections


def _row(gpu: RunGpu, results: Sequence[CellResult]) -> tuple[Words, ...]:
    variants = dict.fromkeys(without_gpus(result.cell.variant) for result in results if result.cell.variant)
    carried = ", ".join(variants) or ("no model" if gpu.used else "left out")
    counts = Counter(result.outcome for result in results)
    checks = ", ".join(f"{counts[outcome]} {outcome.word}" for outcome in CellOutcome if counts[outcome])
    named = (gpu.name or "not read", gpu.uuid or "not read", gpu.serial or "none")
    return (code(gpu.id), *named, carried, checks or "none")
