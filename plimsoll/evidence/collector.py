"""Gathers events, in whatever order several processes wrote them, into the one record of a run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from plimsoll.errors import PlimsollError
from plimsoll.evidence.answers import AnswerRecord, Asking
from plimsoll.evidence.events import FORMAT, Event
from plimsoll.evidence.fields import read_bounds, read_claim, read_judgement, read_measurement
from plimsoll.evidence.record import (
    Cell,
    CellEvidence,
    CollectError,
    EvidenceFile,
    Finish,
    GateRecord,
    LoadRecord,
    Measured,
    RecordedWaivers,
    Resumed,
    RunHead,
    RunRecord,
)
from plimsoll.judge.judgement import Judgement
from plimsoll.node.node import Node

_MOST_DAMAGE_NAMED: Final = 20


@dataclass(slots=True)
class _Notes:
    """What was recorded about one cell so far."""

    reports: list[Mapping[str, Any]] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    measurements: list[Measured] = field(default_factory=list)


class Collector:
    """Takes events one by one with `add`; `record` gives what they come to. `faults` may be added to."""

    def __init__(self) -> None:
        self.events = 0
        self.faults: list[str] = []
        self._damaged: list[str] = []
        self._torn: list[str] = []
        self._seen: dict[str, dict[int, int]] = defaultdict(dict)
        self._head: tuple[str, RunHead] | None = None
        self._node: Node | None = None
        self._waivers: RecordedWaivers | None = None
        self._plans: dict[str, dict[str, Cell]] = {}
        self._deselected = 0
        self._gates: dict[str, GateRecord] = {}
        self._cells: dict[str, _Notes] = defaultdict(_Notes)
        self._loads: list[LoadRecord] = []
        self._benchmarks: list[Mapping[str, Any]] = []
        self._machine: Mapping[str, Any] | None = None
        self._hub: list[Mapping[str, Any]] = []
        self._hosts: list[Mapping[str, Any]] = []
        self._samples: list[Mapping[str, Any]] = []
        self._askings: list[Asking] = []
        self._answers: list[AnswerRecord] = []
        self._collect_errors: list[CollectError] = []
        self._finishes: dict[str, Finish] = {}
        self._take: dict[Event, Callable[[Mapping[str, Any]], None]] = {
            Event.RUN: self._run,
            Event.WAIVERS: self._take_waivers,
            Event.NODE: self._take_node,
            Event.PLAN: self._plan,
            Event.GATE: self._gate,
            Event.HUB: lambda data: self._hub.append(data),
            Event.HOST: lambda data: self._hosts.append(data),
            Event.LOAD: self._load,
            Event.MEASUREMENT: self._measurement,
            Event.JUDGEMENT: self._judgement,
            Event.SAMPLE: lambda data: self._samples.append(data),
            Event.DATASET: lambda data: self._askings.append(Asking.from_json(data)),
            Event.ANSWER: lambda data: self._answers.append(AnswerRecord.from_json(data)),
            Event.BENCHMARK: self._benchmark,
            Event.MACHINE: self._take_machine,
            Event.REPORT: self._report,
            Event.COLLECT_ERROR: self._collect_error,
            Event.FINISH: self._finish,
        }

    def damaged(self, text: str, *, torn: bool = False) -> None:
        """Note a line that could not be read; `torn` where it is the last one and lacks its end."""
        self._damaged.append(text)
        if torn:
            self._torn.append(text)

    def add(self, data: Mapping[str, Any]) -> bool:
        """Take one event; False where it was here before.

        Raises KeyError, TypeError or ValueError for an event that does not hold what `events.py` says, and
        PlimsollError for evidence of a newer format.
        """
        worker, number = data["worker"], data["seq"]
        if not isinstance(worker, str) or not isinstance(number, int) or number < 1:
            raise TypeError("worker must be a text and seq a number from 1")
        content = hash(json.dumps(data, sort_keys=True))
        if number in self._seen[worker]:
            if self._seen[worker][number] != content:
                raise ValueError(f"a second, different event {number} of {worker}")
            return False
        self._seen[worker][number] = content
        self._take[Event(data["event"])](data)
        self.events += 1
        return True

    def record(self, folder: Path, files: tuple[EvidenceFile, ...]) -> RunRecord:
        """Everything that was added."""
        starter, head = self._head or ("main", None)
        return RunRecord(
            folder=folder,
            files=files,
            run=head,
            node=self._node,
            plan=tuple({id_: cell for plan in self._plans.values() for id_, cell in plan.items()}.values()),
            deselected=self._deselected,
            gates=self._gates,
            cells={
                id_: CellEvidence(
                    reports=tuple(notes.reports),
                    judgements=tuple(notes.judgements),
                    measurements=tuple(notes.measurements),
                )
                for id_, notes in self._cells.items()
            },
            loads=tuple(self._loads),
            benchmarks=tuple(self._benchmarks),
            machine=self._machine,
            hub=tuple(self._hub),
            hosts=tuple(self._hosts),
            samples=tuple(self._samples),
            askings=tuple(self._askings),
            answers=tuple(self._answers),
            collect_errors=tuple(self._collect_errors),
            finish=self._finishes.get(starter),
            faults=(*self._named_damage(), *self._missing(), *self._plan_conflicts(), *self.faults),
            torn=tuple(self._torn),
            waivers=self._waivers,
        )

    def _run(self, data: Mapping[str, Any]) -> None:
        if not isinstance(data["format"], int) or data["format"] > FORMAT:
            raise PlimsollError(
                f"the evidence has format {data['format']}, and this Plimsoll reads {FORMAT}: "
                f"read it with Plimsoll {data.get('plimsoll', 'of its time')} or a newer one"
            )
        if self._head is not None:
            raise ValueError("a second start of a run in one file")
        head = RunHead(
            run_id=str(data["run_id"]),
            started=str(data["at"]),
            plimsoll=str(data["plimsoll"]),
            arguments=tuple(map(str, data["arguments"])),
            selection=dict(data["selection"]),
            allow_incomplete=data["allow_incomplete"] is True,
            catalogues=tuple(
                {**file, "path": str(file["path"]), "sha256": str(file["sha256"])} for file in data["catalogues"]
            ),
            limits_are_shipped=data["limits_are_shipped"] is True,
            packages={str(name): str(version) for name, version in (data.get("packages") or {}).items()},
            resumes=_resumed(data.get("resumes")),
        )
        self._head = (data["worker"], head)

    def _take_waivers(self, data: Mapping[str, Any]) -> None:
        on = datetime.fromisoformat(data["at"]).astimezone(UTC).date()
        self._waivers = RecordedWaivers(path=str(data["path"]), text=str(data["text"]), on=on)

    def _take_node(self, data: Mapping[str, Any]) -> None:
        node = Node.from_json(data["node"])
        self._node = self._node or node

    def _plan(self, data: Mapping[str, Any]) -> None:
        cells = [Cell.from_json(cell) for cell in data["cells"]]
        deselected = int(data["deselected"])
        plan = self._plans.setdefault(data["worker"], {})
        for cell in cells:
            if cell.id in plan:
                self.faults.append(f"{cell.id} was planned twice: one result cannot speak for both")
            plan[cell.id] = cell
        self._deselected = max(self._deselected, deselected)

    def _gate(self, data: Mapping[str, Any]) -> None:
        if data["decision"] not in ("run", "skip", "error"):
            raise ValueError(f"a gate says run, skip or error, not {data['decision']!r}")
        code, have, need, fix = (None if data.get(k) is None else str(data[k]) for k in ("code", "have", "need", "fix"))
        gate = GateRecord(
            variant=str(data["variant"]),
            decision=data["decision"],
            code=code,
            have=have,
            need=need,
            fix=fix,
            text=str(data.get("text") or ""),
            bounds={str(metric): read_bounds(bounds) for metric, bounds in (data.get("bounds") or {}).items()},
            claims=tuple(read_claim(claim) for claim in data.get("claims") or ()),
        )
        # Workers ask the same gate at different times; a skip that any of them met is the one to explain.
        if gate.variant not in self._gates or gate.decision != "run":
            self._gates[gate.variant] = gate

    def _load(self, data: Mapping[str, Any]) -> None:
        load = LoadRecord(variant=str(data["variant"]), cache=str(data["cache"]), report=data["report"])
        _ = load.seconds, load.checkpoint_bytes  # every report prints these: a load without them is a damaged line
        self._loads.append(load)

    def _measurement(self, data: Mapping[str, Any]) -> None:
        measured = Measured(measurement=read_measurement(data), context=dict(data.get("context") or {}))
        self._cells[data["cell"]].measurements.append(measured)

    def _judgement(self, data: Mapping[str, Any]) -> None:
        judgement = read_judgement(data)
        self._cells[data["cell"]].judgements.append(judgement)

    def _benchmark(self, data: Mapping[str, Any]) -> None:
        self._benchmarks.append(dict(data["benchmark"]))

    def _take_machine(self, data: Mapping[str, Any]) -> None:
        machine = {key: data[key] for key in ("machine_info", "commit_info", "version")}
        self._machine = self._machine or machine

    def _report(self, data: Mapping[str, Any]) -> None:
        report = dict(data["report"])
        if not isinstance(report["outcome"], str) or not isinstance(report["when"], str):
            raise TypeError("the outcome and the phase of a test report are texts")
        self._cells[data["cell"]].reports.append(report)

    def _collect_error(self, data: Mapping[str, Any]) -> None:
        self._collect_errors.append(CollectError(nodeid=str(data["nodeid"]), text=str(data["text"])))

    def _finish(self, data: Mapping[str, Any]) -> None:
        self._finishes[data["worker"]] = Finish(
            at=str(data["at"]),
            exitstatus=int(data["exitstatus"]),
            interrupted=data["interrupted"] is not False,
            reason=str(data.get("reason") or ""),
        )

    def _named_damage(self) -> list[str]:
        more = len(self._damaged) - _MOST_DAMAGE_NAMED
        return self._damaged[:_MOST_DAMAGE_NAMED] + ([f"{more} more lines cannot be read"] if more > 0 else [])

    def _missing(self) -> list[str]:
        """A worker numbers its events without a gap, so one that is not here was lost."""
        faults = []
        for worker, seen in sorted(self._seen.items()):
            count = max(seen) - len(seen)
            if count:
                lost = next(number for number in range(1, max(seen) + 1) if number not in seen)
                faults.append(f"{count} of {max(seen)} events of {worker} are missing, the first is number {lost}")
        return faults

    def _plan_conflicts(self) -> list[str]:
        if not self._plans:
            return []
        (first, plan), *others = self._plans.items()
        return [
            f"{first} and {worker} planned differently: {_difference(plan, other)}"
            for worker, other in others
            if other != plan
        ]


def _resumed(data: Mapping[str, Any] | None) -> Resumed | None:
    return None if data is None else Resumed(run_id=str(data["run_id"]), sha256=str(data["sha256"]))


def _difference(plan: Mapping[str, Cell], other: Mapping[str, Cell]) -> str:
    unlike = [id_ for id_ in {**plan, **other} if plan.get(id_) != other.get(id_)]
    return f"{len(unlike)} of {len({**plan, **other})} cells differ, such as {unlike[0]}"
