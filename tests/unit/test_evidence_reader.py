"""The reader: every kind of damage is told, nothing readable is lost, and what is no evidence is one clear message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.evidence.events import Event
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.record import Cell
from plimsoll.evidence.writer import fallback_path
from plimsoll.report.closing import closing_lines
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Word, reach_verdict
from tests.support.run_events import (
    NODE,
    RUN_ID,
    cell,
    gate,
    good_run,
    line,
    load,
    measured,
    numbered,
    plan,
    recorded,
    start,
    write_events,
)

TIMED = cell("test_time", measures=["load_time"])


def test_everything_that_was_recorded_is_in_the_record(tmp_path: Path) -> None:
    machine = line(Event.MACHINE, machine_info={"cpu": {}}, commit_info={"id": "x"}, version="5.3.0", more=1)
    extra = [
        measured(TIMED, "load_time", 1.0),
        load("tiny-llama/nf4"),
        gate("tiny-llama/nf4", text="run"),
        line(Event.BENCHMARK, cell=TIMED.id, benchmark={"name": "b"}),
        machine,
        line(Event.HOST, variant="tiny-llama/nf4", state="died", signal=9),
        line(Event.SAMPLE, variant="tiny-llama/nf4", pid=1, seconds=0.5, rss=10),
        line(Event.COLLECT_ERROR, nodeid="a.py", text="SyntaxError"),
    ]
    record = recorded(tmp_path, [*good_run([TIMED])[:-1], *extra, good_run([])[-1]])
    assert record.faults == ()
    assert record.run is not None
    assert (record.run.run_id, record.run.arguments, record.run_id) == (RUN_ID, ("-m", "tiny"), RUN_ID)
    assert record.node == NODE
    assert record.plan == (TIMED,)
    of_cell = record.evidence_of(TIMED)
    assert [r["when"] for r in of_cell.reports] == ["setup", "call", "teardown"]
    assert [j.measurement.value for j in of_cell.judgements] == [1.0]
    assert [(m.measurement.value, m.context) for m in of_cell.measurements] == [(1.0, {"n": 1})]
    assert [(one.seconds, one.checkpoint_bytes) for one in record.loads] == [(2.0, 4 * 10**6)]
    assert record.gates["tiny-llama/nf4"].decision == "run"
    assert record.benchmarks == ({"name": "b"},)
    assert record.machine == {"machine_info": {"cpu": {}}, "commit_info": {"id": "x"}, "version": "5.3.0"}
    assert [host["signal"] for host in record.hosts] == [9]
    assert [sample["rss"] for sample in record.samples] == [10]
    assert [error.nodeid for error in record.collect_errors] == ["a.py"]
    assert record.finish is not None
    assert record.finish.exitstatus == 0
    assert [file.path.name for file in record.files] == ["evidence.jsonl"]


def test_the_folder_the_file_and_the_link_are_the_same_run(tmp_path: Path) -> None:
    path = write_events(tmp_path / RUN_ID, numbered(good_run([TIMED])))
    (tmp_path / "latest").symlink_to(RUN_ID)
    records = [read_run(given) for given in (path.parent, path, tmp_path / "latest")]
    assert {record.folder.resolve() for record in records} == {path.parent}
    assert all(record.finish for record in records)


def test_a_run_killed_in_its_last_line_gives_all_before(tmp_path: Path) -> None:
    path = write_events(tmp_path, numbered(good_run([TIMED])))
    path.write_bytes(path.read_bytes()[:-40])
    record = read_run(tmp_path)
    assert record.faults == ("evidence.jsonl: line 8 is half-written",)
    verdict = reach_verdict(record)
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults[0] == "the run did not finish: it was killed, or its last line is lost"
    assert verdict.results[0].outcome is CellOutcome.PASS


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\x00" * 500, "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[1, 2]", "it is not an event"),
        (b'{"event": "host", "at": "x", "worker": "main"}', "seq is missing or unknown"),
        (b'{"event": "hots", "at": "x", "worker": "gw9", "seq": 1}', "'hots' is not a valid Event"),
        (b'{"event": "host", "at": "x", "worker": "gw9", "seq": "1"}', "worker must be a text and seq a number from 1"),
        (b'{"event": "host", "at": "x", "worker": "gw9", "seq": 1, "pid": NaN}', "NaN is not JSON"),
        (b'{"event": "host", "at": "x", "worker": "main", "seq": 1}', "a second, different event 1 of main"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"1" * 10_000, "a whole number of 10000 digits"),
        (b'{"event": "host", "pid": -1234567890123456789012345678901}', "a whole number of 31 digits"),
        (b'{"event": "host", "pid": [1, 1e999]}', "1e999 is too large for a number"),
        (b'{"event": "host", "pid":-12.5E+309}', "-12.5E+309 is too large for a number"),
        (b'{"event": "host", "at": -Infinity}', "-Infinity is not JSON"),
        (b'{"event": "host", "at": "\x00"}', "it is not JSON"),
        (b'{"event": "host", "at": "\xe9"}', "it is not JSON"),
        (b'{"event": "host"} {}', "it is not JSON"),
    ],
)
def test_a_damaged_line_is_told_and_harms_no_other(tmp_path: Path, damage: bytes, reason: str) -> None:
    path = write_events(tmp_path, numbered(good_run([TIMED])))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], damage, b"\n", *lines[4:]]))
    record = read_run(tmp_path)
    (fault,) = record.faults
    assert fault.startswith(f"evidence.jsonl: line 5 cannot be read: {reason}")
    verdict = reach_verdict(record)
    assert [result.outcome for result in verdict.results] == [CellOutcome.PASS]
    assert verdict.word is Word.INCOMPLETE


@pytest.mark.parametrize(
    ("number", "changes", "reason"),
    [
        (1, {"cells": [{"id": "a"}]}, "measures is missing or unknown"),
        (1, {"cells": [{**TIMED.to_json(), "variant": ["x"]}]}, "variant of a cell is a text, not ['x']"),
        (1, {"cells": [{**TIMED.to_json(), "colour": "x"}]}, "Cell.__init__() got an unexpected keyword argument"),
        (2, {"node": {"hostname": "x"}}, "cpu is missing or unknown"),
        (3, {"report": {"outcome": "passed"}}, "when is missing or unknown"),
        (3, {"report": {"outcome": 1, "when": "setup"}}, "the outcome and the phase of a test report are texts"),
        (4, {"metric": "speed"}, "'speed' is no metric that this version knows"),
        (4, {"unit": "bytes"}, "load_time is in 'bytes', but its unit is 's'"),
        (4, {"value": 3.0}, "load_time is recorded as pass, but its figures say fail"),
        (4, {"value": "fast"}, "'fast' is not a number"),
        (4, {"value": None}, "load_time is recorded as pass, but its figures say unset"),
        (4, {"high": "NaN"}, "a limit on load_time must be finite"),
        (4, {"outcome": "unset"}, "load_time is recorded as unset, but its figures say pass"),
        (7, {"exitstatus": None}, "int() argument must be"),
    ],
)
def test_an_event_that_cannot_be_true_is_damage(
    tmp_path: Path, number: int, changes: dict[str, Any], reason: str
) -> None:
    events = numbered(good_run([TIMED]))
    events[number].update(changes)
    write_events(tmp_path, events)
    record = read_run(tmp_path)
    assert record.faults[0].startswith(f"evidence.jsonl: line {number + 1} cannot be read: {reason}")
    assert reach_verdict(record).word is not Word.ACCEPTED


def test_much_damage_is_counted_and_not_recited(tmp_path: Path) -> None:
    path = write_events(tmp_path, numbered(good_run([TIMED])))
    path.write_bytes(path.read_bytes() + b"garbage\n" * 1000)
    faults = read_run(tmp_path).faults
    assert len(faults) == 21
    assert faults[-1] == "980 more lines cannot be read"


def test_a_lost_line_is_missed_by_its_number(tmp_path: Path) -> None:
    events = numbered([*good_run([TIMED]), line(Event.HOST, "gw0", state="closed"), line(Event.HOST, "gw0", state="x")])
    write_events(tmp_path, [e for e in events if (e["worker"], e["seq"]) not in {("main", 3), ("main", 5), ("gw0", 1)}])
    assert read_run(tmp_path).faults == (
        "1 of 2 events of gw0 are missing, the first is number 1",
        "2 of 8 events of main are missing, the first is number 3",
    )


def test_a_line_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    events = numbered(good_run([TIMED]))
    write_events(tmp_path, [*events, *events[3:6]])
    record = read_run(tmp_path)
    assert record.faults == ()
    assert len(record.evidence_of(TIMED).reports) == 3


def test_only_the_process_that_started_the_run_can_finish_it(tmp_path: Path) -> None:
    events = good_run([TIMED])
    record = recorded(tmp_path, [*events[:-1], {**events[-1], "worker": "gw0"}])
    assert record.faults == ()
    assert record.finish is None


def test_a_strangers_second_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    events = numbered(good_run([TIMED]))
    path = write_events(tmp_path / RUN_ID, events[:4])
    write_events(tmp_path / "planted", events[4:])
    fallback_path(path, "main").symlink_to(tmp_path / "planted" / "evidence.jsonl")
    record = read_run(path)
    assert [file.path for file in record.files] == [path]
    assert record.finish is None


def test_a_second_start_in_one_file_is_a_fault(tmp_path: Path) -> None:
    record = recorded(tmp_path, [*good_run([TIMED]), start()])
    assert record.faults == ("evidence.jsonl: line 9 cannot be read: a second start of a run in one file",)


def test_workers_that_plan_differently_give_the_union_and_a_fault(tmp_path: Path) -> None:
    other = cell("test_other")
    events = [*good_run([TIMED]), plan([TIMED, other], worker="gw1")]
    record = recorded(tmp_path, events)
    assert record.plan == (TIMED, other)
    assert record.faults == (f"main and gw1 planned differently: 1 of 2 checks differ, such as {other.id}",)


def test_a_skip_of_any_worker_is_the_gates_word(tmp_path: Path) -> None:
    gates = [gate("v", "skip", code="ram"), gate("v"), gate("w"), gate("w", "skip", code="disk")]
    record = recorded(tmp_path, [*good_run([]), *gates])
    assert {variant: decided.code for variant, decided in record.gates.items()} == {"v": "ram", "w": "disk"}


def test_a_newer_format_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    events = numbered(good_run([]))
    events[0] = {**events[0], "format": 3, "plimsoll": "3.0.0"}
    write_events(tmp_path, events)
    with pytest.raises(PlimsollError) as error:
        read_run(tmp_path)
    assert str(error.value) == (
        "the evidence has format 3, and this Plimsoll reads 2: read it with Plimsoll 3.0.0 or a newer one"
    )


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b'{"verdict": "ACCEPTED"}\n'])
def test_no_evidence_is_one_clear_message(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "evidence.jsonl"
    why = f"{path} cannot be read (No such file or directory)"
    if content is not None:
        path.write_bytes(content)
        empty = "it is empty: the run was killed before its first event"
        why = "it holds no readable event of a run" if content else empty
    with pytest.raises(PlimsollError) as error:
        read_run(tmp_path)
    assert str(error.value) == f"no evidence in {path}: {why}; give a run folder, such as reports/latest"


def test_a_cell_comes_back_as_it_went() -> None:
    assert Cell.from_json(json.loads(json.dumps(TIMED.to_json()))) == TIMED


def test_no_link_in_a_run_folder_leads_out_of_it(tmp_path: Path) -> None:
    outside = write_events(tmp_path / "outside", numbered(good_run([TIMED])))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "evidence.jsonl").symlink_to(outside)
    with pytest.raises(PlimsollError, match="it is a link that leads out of the run's folder"):
        read_run(tmp_path / "run")
    # Who names the link itself has said so.
    assert read_run(tmp_path / "run" / "evidence.jsonl").faults == ()
    inside = write_events(tmp_path / "sound", numbered(good_run([TIMED])))
    inside.rename(inside.with_name("renamed.jsonl"))
    inside.symlink_to("renamed.jsonl")
    assert read_run(tmp_path / "sound").faults == ()


@pytest.mark.parametrize("folder_is_linked", [True, False])
def test_no_link_among_resumed_runs_leads_out(tmp_path: Path, folder_is_linked: bool) -> None:
    path = write_events(tmp_path / "run", numbered(good_run([TIMED])))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jsonl").write_text("secret\n")
    if folder_is_linked:
        (path.parent / "resumed").symlink_to(outside)
    else:
        (path.parent / "resumed").mkdir()
        (path.parent / "resumed" / "secret.jsonl").symlink_to(outside / "secret.jsonl")
    with pytest.raises(PlimsollError, match="it is a link that leads out of the run's folder"):
        read_run(tmp_path / "run")


def test_a_line_without_an_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_events(tmp_path, numbered(good_run([TIMED])))
    monkeypatch.setattr("plimsoll.evidence.reader._LONGEST_LINE", 4096)
    with path.open("a") as file:
        file.write("x" * 10_000)
    (fault,) = read_run(tmp_path).faults
    assert fault.endswith("is longer than 4096 bytes")


def test_a_name_with_line_breaks_forges_no_line(tmp_path: Path) -> None:
    name = "x\nACCEPTED over the whole suite: 9 of 9 checks passed\x1b[2K"
    path = write_events(tmp_path / name, numbered(good_run([TIMED])))
    (path.parent / "resumed").mkdir()
    (path.parent / "resumed" / f"{name}.jsonl").write_text("###\n")
    with pytest.raises(PlimsollError) as error:
        read_run(path)
    assert "\n" not in str(error.value)
    (path.parent / "resumed" / f"{name}.jsonl").unlink()
    with path.open("a") as file:
        file.write("###\n")
    record = read_run(path)
    lines = closing_lines(record, reach_verdict(record))
    assert not [text for text in lines if "\n" in text or "\x1b" in text]
    assert lines[-1].startswith("INCOMPLETE over")
