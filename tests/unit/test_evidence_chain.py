"""Checksums of evidence: whatever an accident does to a line of any writer is found, and widens no scope."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.errors import PlimsollError
from plimsoll.evidence.chain import START, is_whole, sealed
from plimsoll.evidence.events import FORMAT, Event
from plimsoll.evidence.reader import read_run
from plimsoll.report.closing import closing_lines
from plimsoll.report.results import results_text
from plimsoll.report.write import summary_text
from plimsoll.verdict.verdict import Verdict, Word, reach_verdict
from tests.support.run_events import NODE, RUN_ID, cell, finish, good_cell, line, plan, start

ONE, TWO = cell("test_one", measures=["load_time"]), cell("test_two")


def chained_lines() -> list[bytes]:
    """A run on two workers in which all is well, as this version writes it."""
    head = start(format=FORMAT, selection={"mark": "tiny", "keyword": "one or two", "paths": [], "options": {}})
    events = [head]
    for worker, of in (("gw0", ONE), ("gw1", TWO)):
        events += [plan([ONE, TWO], worker), line(Event.NODE, worker, node=NODE.to_json())]
        setup, *figures, call, teardown = good_cell(of)
        called = line(Event.CALL, worker, cell=of.id, started="2026-11-20T12:59:01+00:00", seconds=1.0, raised=None)
        events += [setup, *({**one, "worker": worker} for one in figures), called, call, teardown]
    events += [line(Event.CLOSE, worker, events=0) for worker in ("gw0", "gw1")]
    events += [{**finish(), "events": 0, "writers": ["gw0", "gw1"]}]
    last: dict[str, tuple[int, str]] = {}
    lines = []
    for event in events:
        number, after = last.get(event["worker"], (0, START))
        numbered = {**event, "seq": number + 1} | ({"events": number + 1} if "events" in event else {})
        content, own = sealed(numbered, after)
        last[event["worker"]] = (number + 1, own)
        lines.append(content)
    return lines


LINES = chained_lines()


def verdict_on(folder: Path, lines: list[bytes]) -> Verdict:
    run = folder / RUN_ID
    run.mkdir(exist_ok=True)
    (run / "evidence.jsonl").write_bytes(b"".join(lines))
    record = read_run(run, alone=True)
    verdict = reach_verdict(record)
    # Whatever was read must be told too, without a traceback.
    results_text(record, verdict)
    summary_text(record, verdict)
    closing_lines(record, verdict)
    return verdict


def test_sound_evidence_is_accepted_without_a_note(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, LINES)
    assert verdict.statement == "ACCEPTED over -m tiny -k 'one or two': 2 of 2 checks passed"
    assert (verdict.faults, verdict.notes) == ((), ())


def test_a_seal_holds_for_its_line_alone() -> None:
    content, own = sealed({"a": 1, "b": 'x","sum":"0123456789abcdef"}'}, START)
    assert json.loads(content)["sum"] == own
    assert is_whole(content) is True
    assert is_whole(content.replace(b'"a":1', b'"a":2')) is False
    assert is_whole(b'{"a":1}\n') is None


@pytest.mark.parametrize("number", range(len(LINES)))
def test_each_lost_and_each_doubled_line_is_found(tmp_path: Path, number: int) -> None:
    lost = verdict_on(tmp_path, [*LINES[:number], *LINES[number + 1 :]])
    assert lost.word is not Word.ACCEPTED
    doubled = verdict_on(tmp_path, [*LINES[: number + 1], *LINES[number:]])
    assert doubled.word is Word.INCOMPLETE
    worker, place = (json.loads(LINES[number])[key] for key in ("worker", "seq"))
    assert f"evidence.jsonl: event {place} of {worker} is there twice" in doubled.faults


@pytest.mark.parametrize("count", range(1, len(LINES)))
def test_each_cut_is_found(tmp_path: Path, count: int) -> None:
    assert verdict_on(tmp_path, LINES[:count]).word is not Word.ACCEPTED


@pytest.mark.parametrize("worker", ["gw0", "gw1"])
def test_the_last_lines_of_a_worker_are_missed(tmp_path: Path, worker: str) -> None:
    own = [content for content in LINES if json.loads(content)["worker"] == worker]
    for count in range(1, len(own) + 1):
        verdict = verdict_on(tmp_path, [content for content in LINES if content not in own[-count:]])
        assert verdict.word is not Word.ACCEPTED
        assert any(worker in fault for fault in verdict.faults)


def test_lines_in_another_order_are_found(tmp_path: Path) -> None:
    own = [number for number, content in enumerate(LINES) if json.loads(content)["worker"] == "gw0"]
    first, second = own[2], own[3]
    lines = [*LINES]
    lines[first], lines[second] = lines[second], lines[first]
    verdict = verdict_on(tmp_path, lines)
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == ("evidence.jsonl: event 3 of gw0 stands behind event 4",)


def test_a_line_of_another_run_in_the_place_of_one_is_found(tmp_path: Path) -> None:
    number = next(n for n, content in enumerate(LINES) if json.loads(content)["event"] == "judgement")
    event = {key: value for key, value in json.loads(LINES[number]).items() if key not in ("after", "sum")}
    foreign, _ = sealed(event, "0" * 16)
    verdict = verdict_on(tmp_path, [*LINES[:number], foreign, *LINES[number + 1 :]])
    assert verdict.word is Word.INCOMPLETE
    assert any("does not follow the one before it: lines were exchanged" in fault for fault in verdict.faults)


def without_seal(content: bytes) -> bytes:
    event = json.loads(content)
    return json.dumps({key: value for key, value in event.items() if key not in ("after", "sum")}).encode() + b"\n"


def test_evidence_of_format_1_reads_without_checksums_and_says_so(tmp_path: Path) -> None:
    old = [without_seal(content) for content in LINES]
    old[0] = old[0].replace(f'"format": {FORMAT}'.encode(), b'"format": 1')
    verdict = verdict_on(tmp_path, old)
    assert verdict.word is Word.ACCEPTED
    assert [note for note in verdict.notes if note.startswith("the evidence is of an earlier format")]
    assert verdict_on(tmp_path, [LINES[0], *old[1:]]).word is Word.INCOMPLETE


@pytest.mark.parametrize("name", ["mark", "keyword", "paths"])
@pytest.mark.parametrize("is_old", [True, False])
def test_a_flipped_bit_in_what_was_selected_widens_no_scope(tmp_path: Path, name: str, is_old: bool) -> None:
    lines = [without_seal(content) for content in LINES] if is_old else [*LINES]
    for place in range(len(name)):
        flipped = name[:place] + chr(ord(name[place]) ^ 1) + name[place + 1 :]
        verdict = verdict_on(tmp_path, [lines[0].replace(f'"{name}"'.encode(), f'"{flipped}"'.encode()), *lines[1:]])
        assert verdict.word is not Word.ACCEPTED
        assert verdict.scope == "an unknown selection"


HUGE = b"1" + b"0" * 399
SPOILED = [HUGE, b"null", b"[]", b"{}", b"1e999", b'"x"', b"true", b"-1", b"[[]]", b"0.5"]


def spoil_value(draw: Callable[[Any], Any], event: Any) -> bytes:
    """The event with one of its values, however deep, replaced by one of another kind."""
    paths: list[list[Any]] = []

    def walk(value: Any, path: list[Any]) -> None:
        if path:
            paths.append(path)
        for key, inner in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            walk(inner, [*path, key])

    walk(event, [])
    path = draw(st.sampled_from(paths))
    holder = event
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = "@spoiled@"
    return json.dumps(event).encode().replace(b'"@spoiled@"', draw(st.sampled_from(SPOILED))) + b"\n"


@given(data=st.data(), number=st.integers(0, len(LINES) - 1), is_old=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_spoiled_value_is_a_traceback_or_a_wider_scope(
    tmp_path: Path, data: st.DataObject, number: int, is_old: bool
) -> None:
    lines = [without_seal(content) for content in LINES] if is_old else [*LINES]
    if is_old:
        lines[0] = lines[0].replace(f'"format": {FORMAT}'.encode(), b'"format": 1')
    lines[number] = spoil_value(data.draw, json.loads(lines[number]))
    assert_told(tmp_path, lines, is_old=is_old)


@pytest.mark.parametrize("value", SPOILED)
@pytest.mark.parametrize("name", ["paths", "mark", "keyword", "options"])
def test_a_selection_of_another_kind_is_no_scope(tmp_path: Path, name: str, value: bytes) -> None:
    if (name, value) in {("paths", b"[]"), ("options", b"{}"), ("mark", b'"x"'), ("keyword", b'"x"')}:
        return  # of the right kind
    lines = [without_seal(content) for content in LINES]
    head = json.loads(lines[0].replace(f'"format": {FORMAT}'.encode(), b'"format": 1'))
    head["selection"][name] = "@spoiled@"
    lines[0] = json.dumps(head).encode().replace(b'"@spoiled@"', value) + b"\n"
    assert_told(tmp_path, lines, is_old=True)


@given(number=st.integers(0, len(LINES) - 1), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_bit_is_accepted(tmp_path: Path, number: int, place: float, bit: int) -> None:
    spoiled = bytearray(LINES[number])
    spoiled[int(place * (len(spoiled) - 1))] ^= 1 << bit
    assert_told(tmp_path, [*LINES[:number], bytes(spoiled), *LINES[number + 1 :]], is_old=False)


def assert_told(folder: Path, lines: list[bytes], *, is_old: bool) -> None:
    try:
        verdict = verdict_on(folder, lines)
    except PlimsollError:
        return  # of a newer format, or nothing to be read: told in words, and accepted by nobody
    if is_old:
        assert verdict.word is not Word.ACCEPTED or verdict.scope in (
            "-m tiny -k 'one or two'",
            "-m x -k 'one or two'",
            "-m tiny -k x",
        )
    else:
        assert verdict.word is not Word.ACCEPTED
