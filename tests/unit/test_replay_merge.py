"""Several runs as one: a run that resumes another fills its gaps, and nothing else makes anything look better."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.evidence.events import Event
from plimsoll.evidence.reader import read_run, read_runs
from plimsoll.evidence.record import Cell
from plimsoll.report.closing import closing_lines
from plimsoll.report.results import results, results_schema, results_text
from plimsoll.report.write import summary_text
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Verdict, Word, reach_verdict
from tests.support.pages import header
from tests.support.run_events import (
    NODE,
    OLD_FORMAT,
    Line,
    cell,
    crash,
    finish,
    gate,
    good_cell,
    judged,
    line,
    load,
    numbered,
    plan,
    report,
    start,
    write_events,
)

ONE, TWO, THREE = cell("test_one"), cell("test_two"), cell("test_three", "tiny-phi/int8")
CELLS = [ONE, TWO, THREE]

BODIES: dict[str, Any] = {
    "pass": good_cell,
    "fail": lambda c: [report(c, "setup"), report(c, "call", "failed", crash("no")), report(c, "teardown")],
    "skip": lambda c: [report(c, "setup", "skipped", ["x", 1, "Skipped: x"]), report(c, "teardown")],
    "not_run": lambda _: [],
    "marginal": lambda c: [*good_cell(c), judged(c, "load_time", 1.95, 2.0, margin=0.05)],
}
ORDER = ["fail", "not_run", "skip", "marginal", "pass"]


def run_on(
    run_id: str,
    outcomes: dict[Cell, str],
    host: str = "cargo",
    minute: int = 0,
    end: Line | None = None,
    hub: Sequence[Line] = (),
    **head: Any,
) -> list[Line]:
    """A run with these outcomes, on a node of this name, that began at this minute."""
    node = {**NODE.to_json(), "hostname": host, "gpus": [{**NODE.to_json()["gpus"][0], "uuid": f"GPU-{host}"}]}
    body = [event for c, outcome in outcomes.items() for event in BODIES[outcome](c)]
    last = finish(int("fail" in outcomes.values())) if end is None else end
    events = [
        start(run_id=run_id, **head),
        plan(outcomes),
        line(Event.NODE, node=node),
        *hub,
        *body,
        *([last] if last else []),
    ]
    return numbered([{**event, "at": f"2026-11-20T12:{minute:02d}:00+00:00"} for event in events if event])


def write_run(reports: Path, run_id: str, outcomes: dict[Cell, str], **more: Any) -> Path:
    return write_events(reports / run_id, run_on(run_id, outcomes, **more)).parent


def write_resumed(reports: Path, run_id: str, earlier: Path, outcomes: dict[Cell, str], **more: Any) -> Path:
    """A run that resumes another: what the suite leaves."""
    content = (earlier / "evidence.jsonl").read_bytes()
    resumes = {"run_id": earlier.name, "sha256": hashlib.sha256(content).hexdigest()}
    folder = write_run(reports, run_id, outcomes, resumes=resumes, **{"minute": 30, **more})
    (folder / "resumed").mkdir()
    (folder / "resumed" / f"{earlier.name}.jsonl").write_bytes(content)
    if (earlier / "resumed").exists():
        shutil.copytree(earlier / "resumed", folder / "resumed", dirs_exist_ok=True)
    return folder


def verdict_on(*runs: Path) -> Verdict:
    return reach_verdict(read_runs(runs))


def outcomes_of(verdict: Verdict) -> list[str]:
    return [result.outcome.value for result in verdict.results]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(ORDER, 2)))
def test_of_two_runs_the_worst_of_a_cell_counts_and_both_are_shown(tmp_path: Path, one: str, other: str) -> None:
    runs = [
        write_run(tmp_path, "a-run", {ONE: other, TWO: "pass"}),
        write_run(tmp_path, "b-run", {ONE: one, TWO: "pass"}, host="barge", minute=1),
    ]
    for order in (runs, runs[::-1]):
        verdict = verdict_on(*order)
        assert outcomes_of(verdict) == [one, "pass"]
        (conflict,) = verdict.conflicts
        assert str(conflict) == f"{ONE.id}: {other} in a-run (on cargo), {one} in b-run (on barge)"
        assert (verdict.word is Word.ACCEPTED) == ("marginal" in (one, other) and "pass" in (one, other))


def folder_of(files: object) -> list[Line]:
    """A model that was loaded from a folder with these files."""
    told: Line = {"repository": None, "revision": None, "commit": None, "folder": "/mine", "known": 1, "unknown": []}
    return [line(Event.HUB, state="vouched", **told, changed=[], model="tiny-llama", files=files)]


def commit_of(commit: str) -> list[Line]:
    return [line(Event.HUB, state="fetched", repository="me/mine", revision="main", commit=commit)]


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("first", "second", "resumed", "apart"),
    [
        (folder_of({"w": [8, 1, None]}), folder_of({"w": [8, 1, None]}), None, None),
        (folder_of({"w": [8, 1, A]}), folder_of({"w": [8, 2, A]}), None, None),
        (folder_of({"w": [8, 1, None]}), folder_of({"w": [8, 2, None]}), "w is not the same", None),
        (folder_of({"w": [8, 1, A]}), folder_of({"w": [8, 1, B]}), *["w is not the same"] * 2),
        (folder_of({"w": [8, 1, None]}), folder_of({"w": [9, 1, None]}), *["w is not the same"] * 2),
        (folder_of({"w": [8, 1, A]}), folder_of({"w": [8, 1, A], "x": [1, 1, None]}), *["x is not the same"] * 2),
        (commit_of("1"), commit_of("1"), None, None),
        (commit_of("1"), commit_of("2"), *["commit 1, then 2"] * 2),
        ([], folder_of({"w": [8, 1, None]}), None, None),
        (folder_of(None), folder_of({"w": [8, 1, None]}), None, None),
    ],
)
def test_one_model_with_two_states_of_its_weights_is_a_fault(
    tmp_path: Path, first: list[Line], second: list[Line], resumed: str | None, apart: str | None
) -> None:
    """Independent runs may have a copy each, so that times tell nothing; older evidence says nothing of files."""
    one = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "not_run"}, hub=first, end=finish(0))
    going_on = write_resumed(tmp_path, "b-run", one, {TWO: "pass"}, hub=second)
    other = write_run(tmp_path, "c-run", {TWO: "pass"}, hub=second, host="barge", minute=40)
    alone = write_run(tmp_path, "d-run", {ONE: "pass"}, hub=first)
    for verdict, fault in ((verdict_on(going_on), resumed), (verdict_on(alone, other), apart)):
        assert (verdict.word is Word.ACCEPTED) == (fault is None), verdict.faults
        assert [found.rpartition(": ")[2] for found in verdict.faults] == ([] if fault is None else [fault])


def test_runs_that_agree_have_no_conflict(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, "a-run", {ONE: "pass", TWO: "pass"}),
        write_run(tmp_path, "b-run", {TWO: "pass", THREE: "pass"}, host="barge", minute=1),
    ]
    verdict = verdict_on(*runs)
    assert verdict.statement == "ACCEPTED over -m tiny: 3 of 3 checks passed"
    assert verdict.conflicts == ()
    assert verdict.notes == (
        "one of 2 runs: a-run on cargo, 2 checks planned",
        "one of 2 runs: b-run on barge, 2 checks planned",
        "a-run and b-run differ in host name (cargo, barge), GPUs (GPU-cargo, GPU-barge)",
        OLD_FORMAT,
    )


def test_the_order_of_the_runs_changes_nothing(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, "a-run", {ONE: "fail", TWO: "pass"}, minute=2),
        write_run(tmp_path, "b-run", {TWO: "skip", THREE: "not_run"}, host="barge", minute=1),
        write_run(tmp_path, "c-run", {THREE: "marginal"}, host="ketch", minute=3),
    ]
    texts = set()
    for order in itertools.permutations(runs):
        record = read_runs(order)
        texts.add(results_text(record, reach_verdict(record)))
    assert len(texts) == 1


def test_every_report_shows_nodes_and_conflicts(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, "a-run", {ONE: "pass"}),
        write_run(tmp_path, "b-run", {ONE: "fail"}, host="barge", minute=1),
    ]
    record = read_runs(runs)
    verdict = reach_verdict(record)
    said = f"{ONE.id}: pass in a-run (on cargo), fail in b-run (on barge)"
    assert f"  {said}" in closing_lines(record, verdict)
    summary, page = summary_text(record, verdict), header(record, verdict)
    for text in (summary, page):
        assert said in text
        assert "UUID GPU-cargo" in text
        assert "UUID GPU-barge" in text
    data = results(record, verdict)
    jsonschema.Draft202012Validator(results_schema()).validate(data)
    assert data["run"]["id"] == "a-run + b-run"
    assert [part["run"]["id"] for part in data["parts"]] == ["a-run", "b-run"]
    assert [part["node"]["hostname"] for part in data["parts"]] == ["cargo", "barge"]
    assert [one["outcome"] for one in data["verdict"]["conflicts"][0]["readings"]] == ["pass", "fail"]
    assert data["cells"][0]["run"] == "b-run"


def test_what_differs_alike_between_runs_is_one_line_on_a_terminal(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, "a-run", {ONE: "pass", TWO: "pass", THREE: "fail"}),
        write_run(tmp_path, "b-run", {ONE: "fail", TWO: "fail", THREE: "pass"}, host="barge", minute=1),
    ]
    record = read_runs(runs)
    lines = closing_lines(record, reach_verdict(record))
    at = lines.index("conflicts, of which the worst counts:")
    assert lines[at + 1 : at + 3] == [
        f"  {ONE.id} and 1 other check: pass in a-run (on cargo), fail in b-run (on barge)",
        f"  {THREE.id}: fail in a-run (on cargo), pass in b-run (on barge)",
    ]


def test_a_fault_says_which_run_it_is_about(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, "a-run", {ONE: "pass"}),
        write_run(tmp_path, "b-run", {ONE: "pass"}, end={}, minute=1),
    ]
    verdict = verdict_on(*runs)
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == ("b-run: the run did not finish: it was killed, or its last line is lost",)


def test_a_cell_must_mean_the_same_in_every_run(tmp_path: Path) -> None:
    synthetic = cell("test_one", weights="synthetic")
    runs = [
        write_run(tmp_path, "a-run", {ONE: "pass"}),
        write_run(tmp_path, "b-run", {synthetic: "pass"}, minute=1),
    ]
    verdict = verdict_on(*runs)
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == (f"a-run and b-run planned 1 check differently, such as {ONE.id}",)


def test_allowing_gaps_counts_only_where_every_run_allowed_them(tmp_path: Path) -> None:
    allowed = write_run(tmp_path, "a-run", {ONE: "skip"}, allow_incomplete=True)
    strict = write_run(tmp_path, "b-run", {TWO: "skip"}, minute=1)
    assert verdict_on(allowed).exit_status == 0
    assert verdict_on(allowed, strict).exit_status == 6


def test_a_run_that_goes_on_fills_the_gaps_of_the_one_that_was_killed(tmp_path: Path) -> None:
    killed = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "skip", THREE: "not_run"}, end={})
    path = killed / "evidence.jsonl"
    path.write_bytes(path.read_bytes() + b'{"event":"report","at":"2026')
    alone = verdict_on(killed)
    assert alone.word is Word.INCOMPLETE
    assert alone.faults[1:] == ("evidence.jsonl: line 9 is half-written",)
    went_on = write_resumed(tmp_path, "b-run", killed, {TWO: "pass", THREE: "pass"})
    verdict = verdict_on(went_on)
    assert verdict.statement == "ACCEPTED over -m tiny: 3 of 3 checks passed"
    assert [result.run_id for result in verdict.results] == ["a-run", "b-run", "b-run"]
    assert verdict.conflicts == ()
    assert "one of 2 runs: b-run on cargo, 2 checks planned, resuming a-run" in verdict.notes
    record = read_run(went_on)
    assert record.folder == went_on
    assert [file.path.name for file in record.files] == ["a-run.jsonl", "evidence.jsonl"]
    for given in ([killed, went_on], [went_on, killed], [went_on, went_on]):
        assert verdict_on(*given).statement == verdict.statement


def test_going_on_does_not_undo_a_failure(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "fail", TWO: "not_run"}, end={})
    verdict = verdict_on(write_resumed(tmp_path, "b-run", first, {ONE: "pass", TWO: "pass"}))
    assert outcomes_of(verdict) == ["fail", "pass"]
    assert verdict.word is Word.REJECTED
    assert [str(conflict) for conflict in verdict.conflicts] == [
        f"{ONE.id}: fail in a-run (on cargo), pass in b-run (on cargo)"
    ]


def test_a_gap_that_stays_is_the_newest_and_names_the_command(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "skip"}, end={})
    verdict = verdict_on(write_resumed(tmp_path, "b-run", first, {TWO: "not_run"}))
    assert outcomes_of(verdict) == ["pass", "not_run"]
    assert [gap.fix for gap in verdict.gaps] == ["pytest --resume=b-run"]


def test_each_of_several_runs_names_its_own_command(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, "a-run", {ONE: "pass", TWO: "not_run", THREE: "pass"}, end={}),
        write_run(tmp_path, "b-run", {ONE: "pass", TWO: "not_run", THREE: "not_run"}, host="barge", minute=1, end={}),
    ]
    fixes = [gap.fix for gap in verdict_on(*runs).gaps]
    assert fixes == ["pytest --resume=a-run # on cargo\npytest --resume=b-run # on barge"]
    lines = closing_lines(read_runs(runs), verdict_on(*runs))
    assert "    to run them: pytest --resume=a-run # on cargo" in lines
    assert "    to run them: pytest --resume=b-run # on barge" in lines


def test_a_chain_of_runs_is_one(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "not_run", THREE: "not_run"}, end={})
    second = write_resumed(tmp_path, "b-run", first, {TWO: "pass", THREE: "not_run"}, end=finish(2, interrupted=True))
    third = write_resumed(tmp_path, "c-run", second, {THREE: "pass"}, minute=50)
    verdict = verdict_on(third)
    assert verdict.word is Word.ACCEPTED
    assert [result.run_id for result in verdict.results] == ["a-run", "b-run", "c-run"]


def test_the_end_of_the_newest_run_counts(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "not_run"}, end={})
    verdict = verdict_on(write_resumed(tmp_path, "b-run", first, {TWO: "pass"}, end={}))
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == ("b-run: the run did not finish: it was killed, or its last line is lost",)
    assert read_run(tmp_path / "b-run").finish is None


def test_a_half_line_that_no_kill_explains_is_not_excused(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "skip"})
    path = first / "evidence.jsonl"
    path.write_bytes(path.read_bytes() + b'{"event":"report","at":"2026')
    verdict = verdict_on(write_resumed(tmp_path, "b-run", first, {TWO: "pass"}))
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == ("a-run: a-run.jsonl: line 10 is half-written",)


def test_damage_in_the_middle_is_not_excused_by_going_on(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "not_run"}, end={})
    path = first / "evidence.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], b"###\n", lines[-1]]))
    verdict = verdict_on(write_resumed(tmp_path, "b-run", first, {TWO: "pass"}))
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == ("a-run: a-run.jsonl: line 6 cannot be read: it is not JSON",)


def test_a_run_that_is_not_there_is_missed(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "not_run"}, end={})
    second = write_resumed(tmp_path, "b-run", first, {TWO: "pass"})
    shutil.rmtree(second / "resumed")
    missing = "it resumes run a-run, whose evidence is not here; give both runs"
    assert verdict_on(second).faults == (missing,)
    assert verdict_on(second).word is Word.INCOMPLETE
    assert verdict_on(first, second).word is Word.ACCEPTED


def test_a_run_that_is_not_what_it_was_is_found(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "fail", TWO: "not_run"}, end={})
    second = write_resumed(tmp_path, "b-run", first, {TWO: "pass"})
    copy = second / "resumed" / "a-run.jsonl"
    copy.write_text(copy.read_text().replace('"failed"', '"passed"'))
    verdict = verdict_on(second)
    assert verdict.word is Word.INCOMPLETE
    assert "b-run: the evidence of run a-run is not what it was when this run resumed it" in verdict.faults


def test_runs_that_claim_to_go_on_with_each_other_excuse_nothing(tmp_path: Path) -> None:
    for one, other, minute in (("a-run", "b-run", 0), ("b-run", "a-run", 1)):
        resumes = {"run_id": other, "sha256": "0" * 64}
        write_run(tmp_path, one, {ONE: "pass"}, end={}, minute=minute, resumes=resumes)
    verdict = verdict_on(tmp_path / "a-run", tmp_path / "b-run")
    assert verdict.word is Word.INCOMPLETE
    assert outcomes_of(verdict) == ["pass"]
    assert sum("did not finish" in fault for fault in verdict.faults) == 2


def test_two_runs_that_go_on_with_one_do_not_fill_each_others_gaps(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "pass", TWO: "not_run"}, end={})
    whole = write_resumed(tmp_path, "b-run", first, {TWO: "pass"})
    half = write_resumed(tmp_path, "c-run", first, {TWO: "not_run"}, minute=40)
    assert verdict_on(whole).word is Word.ACCEPTED
    assert outcomes_of(verdict_on(whole, half)) == ["pass", "not_run"]


def test_the_files_of_several_workers_are_one_run(tmp_path: Path) -> None:
    events = run_on("a-run", {ONE: "pass", TWO: "pass"})
    folder = write_events(tmp_path / "a-run", [e for e in events if e.get("cell") != TWO.id]).parent
    moved = tmp_path / "plimsoll-a-run-main.jsonl"
    write_events(tmp_path / "other", [e for e in events if e.get("cell") == TWO.id]).rename(moved)
    assert verdict_on(folder).word is Word.INCOMPLETE
    verdict = verdict_on(folder, moved)
    assert verdict.statement == "ACCEPTED over -m tiny: 2 of 2 checks passed"
    assert read_runs([folder, moved]).parts == ()


def test_what_reports_list_is_put_together(tmp_path: Path) -> None:
    row = {"name": "b", "fullname": TWO.id, "extra_info": {"variant": "x"}}
    first = run_on("a-run", {ONE: "pass", TWO: "not_run"}, end={})
    first += [{**line(Event.BENCHMARK, cell=TWO.id, benchmark=row), "seq": len(first) + 1}]
    earlier = write_events(tmp_path / "a-run", first).parent
    folder = write_resumed(tmp_path, "b-run", earlier, {TWO: "pass"})
    second = [*run_on("b-run", {TWO: "pass"}), load("x"), gate("x"), line(Event.BENCHMARK, cell=TWO.id, benchmark=row)]
    resumes = {"run_id": "a-run", "sha256": hashlib.sha256((earlier / "evidence.jsonl").read_bytes()).hexdigest()}
    second[0] = {**second[0], "resumes": resumes}
    write_events(folder, numbered([{k: v for k, v in event.items() if k != "seq"} for event in second]))
    record = read_run(folder)
    assert [one.variant for one in record.loads] == ["x"]
    assert list(record.gates) == ["x"]
    # The row of the cell that was asked again is the later one alone.
    assert record.benchmarks == ({**row, "extra_info": {"variant": "x", "run": "b-run"}},)


def test_nothing_is_no_run() -> None:
    with pytest.raises(PlimsollError, match="no run was given"):
        read_runs([])


def test_a_run_without_evidence_is_an_error_though_others_have_some(tmp_path: Path) -> None:
    good = write_run(tmp_path, "a-run", {ONE: "pass"})
    with pytest.raises(PlimsollError, match=r"no evidence in .*nowhere"):
        read_runs([good, tmp_path / "nowhere"])


def waived_run(run_id: str, outcomes: dict[Cell, str], **more: Any) -> list[Line]:
    """A run that was given a waiver for the first cell."""
    events = [{k: v for k, v in e.items() if k != "seq"} for e in run_on(run_id, outcomes, **more)]
    text = "[[waiver]]\ncells = '*test_one*'\nwho = 'x'\nwhy = 'x'\nuntil = 2027-06-30\n"
    return numbered([events[0], line(Event.WAIVERS, path="w.toml", sha256="", text=text), *events[1:]])


def test_the_waivers_of_the_newest_run_cover_those_that_it_goes_on_with(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", {ONE: "fail", TWO: "not_run"}, end={})
    folder = write_resumed(tmp_path, "b-run", first, {TWO: "pass"})
    assert verdict_on(folder).word is Word.REJECTED
    resumes = {"run_id": "a-run", "sha256": hashlib.sha256((first / "evidence.jsonl").read_bytes()).hexdigest()}
    write_events(folder, waived_run("b-run", {TWO: "pass"}, minute=30, resumes=resumes))
    statement = "ACCEPTED over -m tiny: 1 of 2 checks passed, 1 waived"
    assert verdict_on(folder).statement == statement
    third = write_resumed(tmp_path, "c-run", folder, {}, minute=50, end=finish(5))
    assert verdict_on(third).statement == statement, "it was given none, so those from before stay"
    assert read_run(third).waivers == read_run(folder).waivers


def test_waivers_of_one_node_do_not_cover_another(tmp_path: Path) -> None:
    first = write_events(tmp_path / "a-run", waived_run("a-run", {ONE: "fail", TWO: "pass"})).parent
    assert verdict_on(first).word is Word.ACCEPTED
    second = write_run(tmp_path, "b-run", {ONE: "fail", TWO: "pass"}, host="barge", minute=1)
    verdict = verdict_on(first, second)
    assert outcomes_of(verdict) == ["fail", "pass"]
    assert [reading.result.outcome for reading in verdict.conflicts[0].readings] == [
        CellOutcome.WAIVED,
        CellOutcome.FAIL,
    ]
