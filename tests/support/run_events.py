"""The events of a whole run in which all is well, as data that a test then spoils in one way and looks at."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from plimsoll.evidence.encoding import judgement_fields, measurement_fields
from plimsoll.evidence.events import Event
from plimsoll.evidence.reader import EVIDENCE_FILE, read_run
from plimsoll.evidence.record import Cell, RunRecord
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.node.node import Cpu, Disk, Gpu, Memory, Node, Unread
from plimsoll.verdict.verdict import Verdict, reach_verdict

SOON = (datetime.now(UTC) + timedelta(days=300)).date()
"""A day until which a waiver may hold that is given today."""
AT = "2026-11-20T12:59:01+00:00"
RUN_ID = "20261120T125901Z-cargo-ab12"

Line = dict[str, Any]

NODE = Node(
    hostname="cargo",
    system="Linux",
    kernel="6.1.0",
    python="3.11.7",
    cpu=Cpu(model="EPYC", architecture="x86_64", physical_cores=2, logical_cores=4, features=("avx2",)),
    memory=Memory(total=8 * 10**9, available=6 * 10**9, limit=None),
    disk=Disk(path="/cache", filesystem="ext4", total=10**11, free=5 * 10**10),
    gpus=(
        Gpu(
            index=0,
            name="NVIDIA H200",
            uuid="GPU-1",
            serial="123",
            vbios="96.00",
            memory_total=150754820096,
            memory_free=150000000000,
            compute_capability="9.0",
            mig=None,
        ),
    ),
    driver="570.1",
    cuda="13.0",
    packages={"torch": "2.13.0", "bitsandbytes": None},
    environment={"HF_HOME": "/cache"},
    unread=(Unread(what="MIG mode", why="not supported"),),
)


def line(event: Event, worker: str = "main", **fields: Any) -> Line:
    """One event without its number: `numbered` gives that."""
    return {"event": event.value, "at": AT, "worker": worker, **fields}


def start(**changes: Any) -> Line:
    """The first line of a run."""
    fields: Line = {
        "format": 1,
        "run_id": RUN_ID,
        "plimsoll": "0.1.0",
        "arguments": ["-m", "tiny"],
        "selection": {"mark": "tiny", "keyword": "", "paths": []},
        "allow_incomplete": False,
        "catalogues": [{"path": "catalogue/tiny.toml", "sha256": "0" * 64, "shipped": True}],
        "limits_are_shipped": True,
    }
    return line(Event.RUN, **{**fields, **changes})


def finish(exitstatus: int = 0, *, interrupted: bool = False, reason: str = "") -> Line:
    """The last line of a run."""
    return line(Event.FINISH, exitstatus=exitstatus, interrupted=interrupted, reason=reason)


def cell(question: str, variant: str | None = "tiny-llama/nf4", measures: Sequence[str] = (), **changes: Any) -> Cell:
    """A planned cell."""
    fields: Line = {
        "id": f"acceptance/test_it.py::{question}[{variant}]",
        "variant": variant,
        "model": variant and variant.split("/")[0],
        "quantization": variant and variant.split("/")[1],
        "tier": "tiny",
        "subject": "load",
        "question": question,
        "measures": tuple(measures),
        "weights": "trained" if variant else None,
    }
    return Cell(**{**fields, **changes})


def plan(cells: Iterable[Cell], worker: str = "main", deselected: int = 0) -> Line:
    """The plan of a worker."""
    return line(Event.PLAN, worker, cells=[c.to_json() for c in cells], deselected=deselected)


def report(of: Cell, when: str, outcome: str = "passed", longrepr: Any = None, **more: Any) -> Line:
    """A serialised test report of pytest, with the fields that evidence is read for and some that it is not."""
    data = {
        "$report_type": "TestReport",
        "nodeid": of.id,
        "location": ["acceptance/test_it.py", 3, "test_it"],
        "keywords": {},
        "outcome": outcome,
        "longrepr": longrepr,
        "when": when,
        "user_properties": [],
        "sections": [],
        "duration": 0.25,
        **more,
    }
    return line(Event.REPORT, cell=of.id, report=data)


def crash(message: str) -> Line:
    """The longrepr of a failure."""
    return {"reprcrash": {"path": "x.py", "lineno": 1, "message": message}, "reprtraceback": {}, "sections": []}


def judged(of: Cell, metric: str, value: float | None, high: float, margin: float = 0.0, reason: str = "") -> Line:
    """A judgement of a value against an upper limit."""
    limit = Limit(metric=metric, high=high, source="catalogue/tiny.toml: claim[1]", margin=margin)
    judgement = judge(Measurement(metric=metric, value=value, reason=reason), limit)
    return line(Event.JUDGEMENT, cell=of.id, **judgement_fields(judgement))


def measured(of: Cell, metric: str, value: float) -> Line:
    """A measurement."""
    return line(Event.MEASUREMENT, cell=of.id, **measurement_fields(Measurement(metric=metric, value=value), {"n": 1}))


def load(variant: str, seconds: float = 2.0) -> Line:
    """A load, with the part of its report that every table prints."""
    return line(Event.LOAD, variant=variant, cache="cold", report={"seconds": seconds, "checkpoint_bytes": 4 * 10**6})


def gate(variant: str, decision: str = "run", **changes: Any) -> Line:
    """A decision of the gate."""
    fields: Line = {"code": None, "have": None, "need": None, "fix": None, "text": "run"}
    return line(Event.GATE, variant=variant, decision=decision, **{**fields, **changes})


def good_cell(of: Cell) -> list[Line]:
    """What a cell leaves that passes."""
    figures = [judged(of, metric, 1.0, 2.0) for metric in of.measures]
    return [report(of, "setup"), *figures, report(of, "call"), report(of, "teardown")]


def good_run(cells: Sequence[Cell]) -> list[Line]:
    """What a run leaves that is ACCEPTED."""
    body = [event for c in cells for event in good_cell(c)]
    return [start(), plan(cells), line(Event.NODE, node=NODE.to_json()), *body, finish()]


def numbered(events: Iterable[Mapping[str, Any]]) -> list[Line]:
    """The events with the numbers that each worker's writer would have given them; tests may spoil them."""
    return [copy.deepcopy(event) for event in _numbered(events)]


def _numbered(events: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    counts: Counter[str] = Counter()
    for event in events:
        counts[event["worker"]] += 1
        yield {**event, "seq": counts[event["worker"]]}


def write_events(folder: Path, events: Iterable[Mapping[str, Any]]) -> Path:
    """Write already numbered events as the evidence of a run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / EVIDENCE_FILE
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return path


def write_run(folder: Path, events: Iterable[Mapping[str, Any]]) -> Path:
    """Write events as the evidence of a run folder, with the numbers that writers would have given them."""
    return write_events(folder, _numbered(events))


def recorded(folder: Path, events: Iterable[Mapping[str, Any]]) -> RunRecord:
    """The record of a run that left these events."""
    write_events(folder / RUN_ID, _numbered(events))
    return read_run(folder / RUN_ID)


OLD_FORMAT = (
    "the evidence is of an earlier format, without checksums and without a record of each call: altered lines, and "
    "calls that were made twice, could not be found"
)
"""The note on evidence of format 1, as these events are."""


def verdict_on(folder: Path, events: Iterable[Mapping[str, Any]]) -> Verdict:
    """The verdict on a run that left these events."""
    return reach_verdict(recorded(folder, events))


HOSTILE = "<script>alert(1)</script>|`x`\x1b[2J\u202e\nACCEPTED over everything"
"""What a model might answer to be believed: markup, escape sequences, reversed text and a line that looks like ours."""


def run_of_every_outcome() -> list[Line]:
    """A run with each outcome, several variants and subjects, loads, and text from a model in every place for text."""
    passes, marginal = cell("test_node", None, subject="node", tier=None), cell("test_near", measures=["load_time"])
    fails = cell("test_slow", measures=["load_time"], subject="memory")
    crashes = cell("test_talks", "tiny-phi/int8", subject="generation")
    skips = [cell(q, "tiny-mixtral/nf4-dq", subject="load") for q in ("test_a", "test_b")]
    lost = cell("test_lost", "tiny-phi/int8", subject="memory")
    cells = [passes, marginal, fails, crashes, *skips, lost]
    own = {"path": "mine.toml", "sha256": "1" * 64, "shipped": False}
    return [
        start(arguments=["-m", "tiny"], limits_are_shipped=False, catalogues=[own]),
        plan(cells, deselected=3),
        line(Event.NODE, node=NODE.to_json()),
        gate("tiny-llama/nf4"),
        gate("tiny-mixtral/nf4-dq", "skip", code="vram", have="24 GB", need="43 GB", fix="use <a bigger> GPU"),
        load("tiny-llama/nf4", seconds=2.0),
        *good_cell(passes),
        *good_cell(marginal)[:1],
        judged(marginal, "load_time", 1.95, 2.0, margin=0.05),
        measured(marginal, "load_time", 1.95),
        *good_cell(marginal)[2:],
        report(fails, "setup"),
        judged(fails, "load_time", 3.0, 2.0),
        report(fails, "call", "failed", crash("Failed: load_time")),
        report(fails, "teardown"),
        report(crashes, "setup"),
        report(crashes, "call", "failed", crash(f"AssertionError: it said {HOSTILE}")),
        report(crashes, "teardown"),
        *[report(s, "setup", "skipped", ["x.py", 1, "Skipped: x"]) for s in skips],
        line(Event.HOST, variant="tiny-phi/int8", state="died", signal=9, stderr=HOSTILE),
        line(Event.COLLECT_ERROR, nodeid="acceptance/test_x.py", text=HOSTILE),
        finish(1),
    ]
