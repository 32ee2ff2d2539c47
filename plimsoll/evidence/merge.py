"""Merges runs into one record: those of workers, of nodes, or of a run that resumed another.

The runs stay whole in `parts`, because the outcome of a check can only be judged there. Merged is what reports list:
loads, benchmarks, gates and the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from plimsoll.errors import PlimsollError
from plimsoll.evidence.record import Cell, CellEvidence, Finish, RunHead, RunRecord
from plimsoll.plan.idle import joined

T = TypeVar("T")


def merge_records(records: Sequence[RunRecord]) -> RunRecord:
    """One record from single runs; the folder is the first one's. A single run is given back as it is.

    Raises PlimsollError for no run at all.
    """
    if not records:
        raise PlimsollError("no run was given; give a run folder, such as reports/latest")
    if len(records) == 1:
        return records[0]
    parts = tuple(sorted(records, key=_age))
    newest = parts[-1]
    return RunRecord(
        folder=records[0].folder,
        files=_joined(part.files for part in parts),
        run=_head([part.run for part in parts if part.run is not None]),
        node=newest.node or next((part.node for part in parts if part.node is not None), None),
        plan=tuple({cell.id: cell for part in parts for cell in part.plan}.values()),
        deselected=max(part.deselected for part in parts),
        gates={variant: gate for part in parts for variant, gate in part.gates.items()},
        cells=_cells(parts),
        loads=_joined(part.loads for part in parts),
        benchmarks=tuple(_benchmarks(parts)),
        machine=next((part.machine for part in reversed(parts) if part.machine is not None), None),
        hub=_joined(part.hub for part in parts),
        hosts=_joined(part.hosts for part in parts),
        samples=_joined(part.samples for part in parts),
        health=_joined(part.health for part in parts),
        askings=_joined(part.askings for part in parts),
        answers=_joined(part.answers for part in parts),
        collect_errors=_joined(part.collect_errors for part in parts),
        finish=_finish(parts),
        faults=tuple(f"{part.run_id}: {fault}" for part in parts for fault in part.faults),
        waivers=next((part.waivers for part in reversed(parts) if part.waivers is not None), None),
        withheld={cell: why for part in parts for cell, why in part.withheld.items()},
        again=newest.again,
        gpus=tuple(dict.fromkeys(gpu for part in parts for gpu in part.gpus)),
        open=tuple(dict.fromkeys(check for part in parts for check in part.open)),
        idle=joined(claim for part in parts for claim in part.idle),
        parts=parts,
    )


def resumers(parts: Iterable[RunRecord]) -> dict[str, tuple[str, ...]]:
    """Run id -> ids of the runs among these that resume it."""
    found: dict[str, tuple[str, ...]] = {}
    for part in parts:
        if part.run is not None and part.run.resumes is not None:
            earlier = part.run.resumes.run_id
            found[earlier] = (*found.get(earlier, ()), part.run_id)
    return found


def _age(record: RunRecord) -> tuple[str, str]:
    return ("" if record.run is None else record.run.started, record.run_id)


def _joined(tuples: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(item for items in tuples for item in items)


def _head(heads: Sequence[RunHead]) -> RunHead | None:
    """The head of the merged run. An allowance that only one run had does not count for all."""
    if not heads:
        return None
    newest = heads[-1]
    catalogues: dict[str, Mapping[str, Any]] = {}
    for head in heads:
        catalogues.update({str(file["sha256"]): file for file in head.catalogues})
    return RunHead(
        run_id=" + ".join(head.run_id for head in heads),
        started=heads[0].started,
        plimsoll=", ".join(dict.fromkeys(head.plimsoll for head in heads)),
        arguments=newest.arguments,
        program=newest.program,
        selection=newest.selection,
        allow_incomplete=all(head.allow_incomplete for head in heads),
        catalogues=tuple(catalogues.values()),
        limits_are_shipped=all(head.limits_are_shipped for head in heads),
        packages=newest.packages,
        edited=_edited(heads),
        format=min(head.format for head in heads),
    )


def _edited(heads: Sequence[RunHead]) -> tuple[str, ...] | None:
    known = [head.edited for head in heads if head.edited is not None]
    return tuple(dict.fromkeys(file for files in known for file in files)) if known else None


def _finish(parts: Sequence[RunRecord]) -> Finish | None:
    """The last run's end; None where a run that no other resumes has none."""
    went_on = resumers(parts)
    ends = [part.finish for part in parts if part.run_id not in went_on]
    finished = [end for end in ends if end is not None]
    return max(finished, key=lambda end: end.at, default=None) if len(finished) == len(ends) else None


def _cells(parts: Sequence[RunRecord]) -> dict[str, CellEvidence]:
    cells: dict[str, CellEvidence] = {}
    for part in parts:
        for id_, more in part.cells.items():
            had = cells.get(id_, CellEvidence())
            cells[id_] = CellEvidence(
                reports=had.reports + more.reports,
                calls=had.calls + more.calls,
                judgements=had.judgements + more.judgements,
                measurements=had.measurements + more.measurements,
            )
    return cells


def _benchmarks(parts: Sequence[RunRecord]) -> Iterator[Mapping[str, Any]]:
    """Every benchmark row with its run, except rows of checks that a later run repeated."""
    went_on = resumers(parts)
    plans: dict[str, tuple[Cell, ...]] = {part.run_id: part.plan for part in parts}
    for part in parts:
        again = {cell.id for later in went_on.get(part.run_id, ()) for cell in plans[later]}
        for row in part.benchmarks:
            if row.get("fullname") not in again:
                yield {**row, "extra_info": {**(row.get("extra_info") or {}), "run": part.run_id}}
