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
from plimsoll.evidence.chain import START
from plimsoll.evidence.encoding import read_bounds, read_claim, read_judgement, read_measurement
from plimsoll.evidence.events import FORMAT, Event
from plimsoll.evidence.record import (
    Cell,
    CellEvidence,
    CollectError,
    EvidenceFile,
    Finish,
    GateRecord,
    LoadRecord,
    Measured,
    RecordedCall,
    RecordedWaivers,
    Resumed,
    RunGpu,
    RunHead,
    RunRecord,
)
from plimsoll.judge.gpu_memory import account
from plimsoll.judge.judgement import Judgement
from plimsoll.node.node import Node, node_schema
from plimsoll.plan.idle import IdleClaim, joined
from plimsoll.suite import PYTEST, RUN

_MOST_DAMAGE_NAMED: Final = 20
_MOST_EVENTS: Final = 2**40
_RUN_KEYS: Final = frozenset(
    {
        *("event", "at", "worker", "seq", "after", "sum", "format", "run_id", "plimsoll", "program"),
        *("arguments", "selection", "allow_incomplete", "catalogues", "limits_are_shipped"),
        *("packages", "resumes", "edited"),
    }
)
"""The fields that the first event of a run may have."""


@dataclass(slots=True)
class _Notes:
    """What was recorded about one cell so far."""

    reports: list[Mapping[str, Any]] = field(default_factory=list)
    calls: list[RecordedCall] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    measurements: list[Measured] = field(default_factory=list)


class Collector:
    """Takes events one by one with `add`; `record` returns the run. Callers may append to `faults`."""

    def __init__(self) -> None:
        self.events = 0
        self.faults: list[str] = []
        self._damaged: list[str] = []
        self._torn: list[str] = []
        self._seen: dict[str, dict[int, int]] = defaultdict(dict)
        self._sums: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
        self._chained = False
        self._unchained = 0
        self._file = ""
        self._last: dict[str, int] = {}
        self._closed: dict[str, int] = {}
        self._withheld: dict[str, str] = {}
        self._gpus: dict[str, RunGpu] = {}
        self._open: dict[str, None] = {}
        self._idle: list[IdleClaim] = []
        self._ask_again = ""
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
        self._health: list[Mapping[str, Any]] = []
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
            Event.HEALTH: self._take_health,
            Event.DATASET: lambda data: self._askings.append(Asking.from_json(data)),
            Event.ANSWER: lambda data: self._answers.append(AnswerRecord.from_json(data)),
            Event.BENCHMARK: self._benchmark,
            Event.MACHINE: self._take_machine,
            Event.CALL: self._call,
            Event.CLOSE: self._close,
            Event.REPORT: self._report,
            Event.COLLECT_ERROR: self._collect_error,
            Event.FINISH: self._finish,
        }

    def damaged(self, text: str, *, torn: bool = False) -> None:
        """Note a line that could not be read; `torn` where it is the last one and lacks its end."""
        self._damaged.append(text)
        if torn:
            self._torn.append(text)

    def begin(self, file: str) -> None:
        """Begin a file: within one file each writer's lines are in order."""
        self._file = file
        self._last = {}

    def add(self, data: Mapping[str, Any], whole: bool | None = None) -> bool:
        """Take one event; False for a duplicate. `whole` says whether its line has the right checksum; None where it
        has none.

        Raises KeyError, TypeError or ValueError for an event that does not hold what `events.py` says, and
        PlimsollError for evidence of a newer format.
        """
        worker, number = data["worker"], data["seq"]
        if not isinstance(worker, str) or type(number) is not int or not 1 <= number < _MOST_EVENTS:
            raise TypeError("worker must be a text and seq a number from 1")
        self._check(whole)
        self._note_place(worker, number)
        # A right checksum stands for the whole line; serialising the content again took a third of the reading time.
        content = hash(data["sum"] if whole else json.dumps(data, sort_keys=True))
        if number in self._seen[worker]:
            if self._seen[worker][number] != content:
                raise ValueError(f"a second, different event {number} of {worker}")
            return False
        self._seen[worker][number] = content
        self._sums[worker][number] = (str(data.get("after")), str(data.get("sum")))
        self._take[Event(data["event"])](data)
        self.events += 1
        return True

    def _check(self, whole: bool | None) -> None:
        if whole is False:
            raise ValueError("it is not what was written: its checksum does not match")
        if whole is None and self._chained:
            raise ValueError("it is not what was written: its checksum is missing")
        self._chained = self._chained or whole is True
        self._unchained += whole is None

    def _note_place(self, worker: str, number: int) -> None:
        """Within one file a writer's numbers rise; in old evidence, lines could occur twice."""
        last = self._last.get(worker, 0)
        if self._chained and number <= last:
            how = "is there twice" if number in self._seen[worker] else f"stands behind event {last}"
            self.faults.append(f"{self._file}: event {number} of {worker} {how}")
        self._last[worker] = max(last, number)

    def record(self, folder: Path, files: tuple[EvidenceFile, ...]) -> RunRecord:
        """The record of everything that was added."""
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
                    calls=tuple(notes.calls),
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
            health=tuple(self._health),
            askings=tuple(self._askings),
            answers=tuple(self._answers),
            collect_errors=tuple(self._collect_errors),
            finish=self._finishes.get(starter),
            withheld=self._withheld,
            gpus=tuple(self._gpus.values()),
            again=self._ask_again,
            open=tuple(self._open),
            idle=joined(self._idle),
            faults=(
                *self._named_damage(),
                *self._missing(),
                *self._broken_chain(),
                *self._unclosed(self._finishes.get(starter)),
                *self._plan_conflicts(),
                *self.faults,
            ),
            torn=tuple(self._torn),
            waivers=self._waivers,
        )

    def _run(self, data: Mapping[str, Any]) -> None:
        if type(data["format"]) is not int or data["format"] < 1:
            raise TypeError("the format is a number from 1")
        if data["format"] > FORMAT:
            raise PlimsollError(
                f"the evidence has format {data['format']}, and this Plimsoll reads {FORMAT}: "
                f"read it with Plimsoll {data.get('plimsoll', 'of its time')} or a newer one"
            )
        if self._head is not None:
            raise ValueError("a second start of a run in one file")
        if unknown := data.keys() - _RUN_KEYS:
            raise ValueError(f"{min(unknown)!r} is no field of a run's start")
        head = RunHead(
            format=data["format"],
            run_id=str(data["run_id"]),
            started=str(data["at"]),
            plimsoll=str(data["plimsoll"]),
            program=RUN if data.get("program") == RUN else PYTEST,
            arguments=tuple(map(str, data["arguments"])),
            selection=_selection(data["selection"]),
            allow_incomplete=data["allow_incomplete"] is True,
            catalogues=tuple(
                {**file, "path": str(file["path"]), "sha256": str(file["sha256"])} for file in data["catalogues"]
            ),
            limits_are_shipped=data["limits_are_shipped"] is True,
            packages={str(name): str(version) for name, version in _table(data.get("packages")).items()},
            edited=None if data.get("edited") is None else tuple(map(str, _list(data["edited"]))),
            resumes=_resumed(data.get("resumes")),
        )
        self._head = (data["worker"], head)

    def _take_waivers(self, data: Mapping[str, Any]) -> None:
        on = datetime.fromisoformat(data["at"]).astimezone(UTC).date()
        self._waivers = RecordedWaivers(path=str(data["path"]), text=str(data["text"]), on=on)

    def _take_node(self, data: Mapping[str, Any]) -> None:
        node = Node.from_json(data["node"])
        if not self._chained:  # a line with its right checksum is what was written; of others every field may be wrong
            node_schema().validate_python(node.to_json(), strict=False)
        self._node = self._node or node

    def _take_health(self, data: Mapping[str, Any]) -> None:
        for each in (*_list(data["first"]), *_list(data["last"])):
            _table(_table(each)["values"])
        for finding in _list(data["findings"]):
            _ = finding["gpu"], finding["what"], finding["action"]
        for memory in _list(data.get("memory") or []):
            _ = account(memory)
        self._health.append(data)

    def _plan(self, data: Mapping[str, Any]) -> None:
        cells = [Cell.from_json(cell) for cell in data["cells"]]
        deselected = int(data["deselected"])
        idle = [IdleClaim.from_json(claim) for claim in _list(data.get("idle") or [])]
        plan = self._plans.setdefault(data["worker"], {})
        for cell in cells:
            if cell.id in plan:
                self.faults.append(f"{cell.id} was planned twice: one result cannot speak for both")
            plan[cell.id] = cell
        self._deselected = max(self._deselected, deselected)
        self._withheld |= {str(cell): str(reason) for cell, reason in _table(data.get("withheld")).items()}
        self._ask_again = self._ask_again or str(data.get("again") or "")
        self._gpus |= {gpu.id: gpu for gpu in _gpus(data)}
        self._open |= dict.fromkeys(map(str, _list(data.get("open") or [])))
        self._idle += idle

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
        # Workers ask the same gate at different times; where any of them met a skip, that is the decision to report.
        if gate.variant not in self._gates or gate.decision != "run":
            self._gates[gate.variant] = gate

    def _load(self, data: Mapping[str, Any]) -> None:
        load = LoadRecord(variant=str(data["variant"]), cache=str(data["cache"]), report=data["report"])
        _ = load.seconds, load.checkpoint_bytes  # every report prints these: a load without them is a damaged line
        self._loads.append(load)

    def _measurement(self, data: Mapping[str, Any]) -> None:
        measured = Measured(measurement=read_measurement(data), context=dict(data.get("context") or {}))
        self._cells[_text(data, "cell")].measurements.append(measured)

    def _judgement(self, data: Mapping[str, Any]) -> None:
        judgement = read_judgement(data)
        self._cells[_text(data, "cell")].judgements.append(judgement)

    def _benchmark(self, data: Mapping[str, Any]) -> None:
        self._benchmarks.append(dict(data["benchmark"]))

    def _take_machine(self, data: Mapping[str, Any]) -> None:
        machine = {key: data[key] for key in ("machine_info", "commit_info", "version")}
        self._machine = self._machine or machine

    def _call(self, data: Mapping[str, Any]) -> None:
        raised = data["raised"]
        call = RecordedCall(
            started=str(data["started"]),
            seconds=float(data["seconds"]),
            raised=None if raised is None else str(raised),
        )
        self._cells[_text(data, "cell")].calls.append(call)

    def _close(self, data: Mapping[str, Any]) -> None:
        self._closed[data["worker"]] = int(data["events"])

    def _report(self, data: Mapping[str, Any]) -> None:
        report = dict(data["report"])
        if not isinstance(report["outcome"], str) or not isinstance(report["when"], str):
            raise TypeError("the outcome and the phase of a test report are texts")
        self._cells[_text(data, "cell")].reports.append(report)

    def _collect_error(self, data: Mapping[str, Any]) -> None:
        self._collect_errors.append(CollectError(nodeid=str(data["nodeid"]), text=str(data["text"])))

    def _finish(self, data: Mapping[str, Any]) -> None:
        self._finishes[data["worker"]] = Finish(
            at=str(data["at"]),
            exitstatus=int(data["exitstatus"]),
            interrupted=data["interrupted"] is not False,
            reason=str(data.get("reason") or ""),
            writers=tuple(map(str, _list(data.get("writers") or []))),
        )
        if data.get("events") is not None:
            self._closed[data["worker"]] = int(data["events"])

    def _named_damage(self) -> list[str]:
        more = len(self._damaged) - _MOST_DAMAGE_NAMED
        return self._damaged[:_MOST_DAMAGE_NAMED] + ([f"{more} more lines cannot be read"] if more > 0 else [])

    def _missing(self) -> list[str]:
        """Faults for lost events: a worker numbers its events without gaps."""
        faults = []
        for worker, seen in sorted(self._seen.items()):
            count = max(seen) - len(seen)
            if count:
                lost = next(number for number in range(1, max(seen) + 1) if number not in seen)
                faults.append(f"{count} of {max(seen)} events of {worker} are missing, the first is number {lost}")
        return faults

    def _broken_chain(self) -> list[str]:
        """Faults in the chain: each line names the checksum of the one before it."""
        if not self._chained:
            return []
        faults = []
        for worker, sums in sorted(self._sums.items()):
            for number, (after, _) in sorted(sums.items()):
                before = START if number == 1 else sums.get(number - 1, (None, None))[1]
                if before is not None and after != before:
                    faults.append(f"event {number} of {worker} does not follow the one before it: lines were exchanged")
        if self._unchained:
            faults.append(f"{self._unchained} lines have no checksum, and others have: they were altered or put there")
        return faults[:_MOST_DAMAGE_NAMED]

    def _unclosed(self, end: Finish | None) -> list[str]:
        """Faults for lost last lines: every writer records at its end how many lines it wrote."""
        promised = self._head is not None and self._head[1].is_chained
        if not promised or end is None or end.interrupted:
            return []
        faults = []
        for worker in dict.fromkeys((*self._seen, *end.writers)):
            count, last = self._closed.get(worker), max(self._seen.get(worker, {}), default=0)
            if count is None:
                faults.append(f"the last lines of {worker} may be lost: it did not say how many there are")
            elif count > last:
                faults.append(f"the last {count - last} of {count} events of {worker} are missing")
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


def _selection(data: Any) -> dict[str, Any]:
    """A checked selection: a misspelt or missing key would widen the scope, and a value of another type would garble
    it."""
    needed = {"mark", "keyword", "paths"}
    unlike = (data.keys() - {*needed, "options"}) | (needed - data.keys())
    if unlike:
        raise ValueError(f"{min(unlike)!r} is missing in a selection, or is no field of one")
    for name in ("mark", "keyword"):
        if not isinstance(data.get(name, ""), str):
            raise TypeError(f"{name} of a selection is a text")
    paths = data.get("paths")
    paths = [] if paths is None else _list(paths)
    if not all(isinstance(path, str) for path in paths):
        raise TypeError("the paths of a selection are texts")
    options = _table(data.get("options"))
    for name, value in options.items():
        if not all(isinstance(one, str | int) for one in (value if isinstance(value, list) else [value])):
            raise TypeError(f"{name} of a selection's options is a text, a number or a list of them")
    return {**data, "paths": paths, "options": options}


def _gpus(data: Mapping[str, Any]) -> list[RunGpu]:
    """The GPUs that a plan names."""
    used = set(map(str, _list(data.get("used") or [])))
    texts = ("uuid", "serial", "name")
    return [
        RunGpu(
            id=str(gpu["id"]),
            index=int(gpu["index"]),
            used=str(gpu["id"]) in used,
            **{text: None if gpu[text] is None else str(gpu[text]) for text in texts},
        )
        for gpu in _list(data.get("gpus") or [])
    ]


def _table(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"a table was expected, not {str(value)[:40]!r}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list was expected, not {str(value)[:40]!r}")
    return value


def _text(data: Mapping[str, Any], name: str) -> str:
    if not isinstance(data[name], str):
        raise TypeError(f"{name} is a text, not {str(data[name])[:40]!r}")
    return str(data[name])


def _resumed(data: Mapping[str, Any] | None) -> Resumed | None:
    return None if data is None else Resumed(run_id=str(data["run_id"]), sha256=str(data["sha256"]))


def _difference(plan: Mapping[str, Cell], other: Mapping[str, Cell]) -> str:
    unlike = [id_ for id_ in {**plan, **other} if plan.get(id_) != other.get(id_)]
    return f"{len(unlike)} of {len({**plan, **other})} checks differ, such as {unlike[0]}"
