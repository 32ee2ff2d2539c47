"""Unites the results of several runs.

A run that resumes another fills its gaps: where the earlier has no result, the later one's counts. Independent runs
(other nodes, another day) fill no gaps of each other: for each check the worst outcome counts, a gap is worse than a
result, and both are shown. So no run can make another look better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from plimsoll.evidence.merge import resumers
from plimsoll.evidence.record import Cell, RunRecord
from plimsoll.verdict.cells import WORST_FIRST, CellOutcome, CellResult, result_of
from plimsoll.verdict.waivers import Waivers
from plimsoll.verdict.waiving import Waived, recorded_waivers, waive


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReading:
    """How a check ended in one run."""

    result: CellResult
    node: str | None
    """The host name; None where the run ended before it was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A check that ended differently in several runs; the worst outcome counts."""

    cell: str
    readings: tuple[RunReading, ...]

    def __str__(self) -> str:
        """`acceptance/...: fail in A (on cargo), pass in B (on barge)`."""
        return f"{self.cell}: {self.told}"

    @property
    def told(self) -> str:
        """How it ended in each run: `fail in A (on cargo), pass in B (on barge)`."""
        return ", ".join(
            f"{reading.result.outcome.value} in {reading.result.run_id} (on {reading.node or 'an unknown node'})"
            for reading in self.readings
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """The planned checks in the order of the plans, then checks that ran unplanned."""

    results: tuple[CellResult, ...]
    conflicts: tuple[Conflict, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def united_results(record: RunRecord, waivers: Waivers | None = None) -> Union:
    """The results of a record of one or more runs. `waivers` replace those that the runs were given."""
    united, conflicts = [], []
    for line in lineages(record.runs):
        results, clashes = _went_on(line)
        united.append(_waived(line, results, waivers))
        conflicts += clashes
    results, clashes = _worst([waived.results for waived in united], record.runs)
    faults = [fault for waived in united for fault in waived.faults]
    if waivers is not None:
        # These waivers are for all runs together: it is enough if one covers a check of one run.
        faults = [str(fault) for fault in waivers.faults_over(cell.id for cell in record.plan)]
    unneeded = {cell: note for waived in united for cell, note in waived.unneeded.items()}
    needed = {result.cell.id for result in results if result.outcome is CellOutcome.WAIVED}
    return Union(
        results=results,
        conflicts=(*conflicts, *clashes),
        faults=tuple(dict.fromkeys(faults)),
        notes=tuple(note for cell, note in unneeded.items() if cell not in needed),
    )


def lineages(runs: Sequence[RunRecord]) -> tuple[tuple[RunRecord, ...], ...]:
    """Each run that no other resumes, with the runs that it resumes, oldest first. Every run is in one lineage: runs
    that claim to resume each other, which is impossible, stand alone.
    """
    by_id = {run.run_id: run for run in runs}
    went_on = resumers(runs)
    lines = []
    for run in runs:
        if run.run_id in went_on:
            continue
        line = [run]
        while (head := line[0].run) is not None and head.resumes is not None:
            earlier = by_id.get(head.resumes.run_id)
            if earlier is None or earlier in line:
                break
            line.insert(0, earlier)
        lines.append(tuple(line))
    reached = {run.run_id for line in lines for run in line}
    return (*lines, *((run,) for run in runs if run.run_id not in reached))


def run_results(run: RunRecord) -> tuple[CellResult, ...]:
    """The result of every planned check of one run in the order of its plan, then of every unplanned check."""
    planned = {cell.id: cell for cell in run.plan}
    results = [
        result_of(
            cell,
            run.evidence_of(cell),
            run.gates.get(cell.variant or ""),
            calls_are_recorded=run.run is not None and run.run.is_chained,
            withheld=run.withheld.get(cell.id, ""),
            again=run.again,
            run_id=run.run_id,
        )
        for cell in planned.values()
    ]
    unplanned = [Cell(id=id_) for id_ in run.cells if id_ not in planned]
    results += [result_of(cell, run.evidence_of(cell), planned=False, run_id=run.run_id) for cell in unplanned]
    return tuple(results)


def _went_on(line: Sequence[RunRecord]) -> tuple[tuple[CellResult, ...], list[Conflict]]:
    """For each check its result, else the newest gap."""
    found: dict[str, list[CellResult]] = {}
    for run in line:
        for result in run_results(run):
            found.setdefault(result.cell.id, []).append(result)
    chosen, conflicts = [], []
    for id_, results in found.items():
        answers = [result for result in results if not result.outcome.is_gap]
        chosen.append(_worst_of(answers) if answers else results[-1])
        conflicts += _conflict(id_, answers, line)
    return _planned_first(chosen, line), conflicts


def _waived(line: Sequence[RunRecord], results: Sequence[CellResult], waivers: Waivers | None) -> Waived:
    planned = frozenset(cell.id for run in line for cell in run.plan)
    if waivers is not None:
        return waive(results, waivers, planned)
    # A run that resumes another keeps its waivers, unless it was given others.
    given = [run.waivers for run in line if run.waivers is not None]
    recorded, faults = recorded_waivers(given[-1] if given else None)
    waived = waive(results, recorded, planned)
    return replace(waived, faults=(*faults, *waived.faults))


def _worst(
    united: Iterable[Sequence[CellResult]], runs: Sequence[RunRecord]
) -> tuple[tuple[CellResult, ...], list[Conflict]]:
    found: dict[str, list[CellResult]] = {}
    for results in united:
        for result in results:
            found.setdefault(result.cell.id, []).append(result)
    conflicts = [conflict for id_, results in found.items() for conflict in _conflict(id_, results, runs)]
    return _planned_first([_worst_of(results) for results in found.values()], runs), conflicts


def _worst_of(results: Sequence[CellResult]) -> CellResult:
    return min(results, key=lambda result: WORST_FIRST.index(result.outcome))


def _conflict(cell: str, results: Sequence[CellResult], runs: Sequence[RunRecord]) -> list[Conflict]:
    if len({result.outcome for result in results}) < 2:
        return []
    nodes = {run.run_id: run.node.hostname for run in runs if run.node is not None}
    readings = tuple(RunReading(result=result, node=nodes.get(result.run_id or "")) for result in results)
    return [Conflict(cell=cell, readings=readings)]


def _planned_first(results: Iterable[CellResult], runs: Iterable[RunRecord]) -> tuple[CellResult, ...]:
    places = {id_: place for place, id_ in enumerate(dict.fromkeys(cell.id for run in runs for cell in run.plan))}
    return tuple(sorted(results, key=lambda result: places.get(result.cell.id, len(places))))
