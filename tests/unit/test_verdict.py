"""The verdict: what each cell comes to, the word, the exit status; nothing which is missing makes it better."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.evidence.encoding import RAISED_BY, encode
from plimsoll.evidence.events import Event
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.record import Cell
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import Word, reach_verdict
from tests.support.run_events import (
    OLD_FORMAT,
    RUN_ID,
    Line,
    cell,
    crash,
    finish,
    gate,
    good_cell,
    good_run,
    judged,
    line,
    numbered,
    plan,
    recorded,
    report,
    start,
    verdict_on,
    write_events,
)

TIMED = cell("test_time", measures=["load_time"])
PLAIN = cell("test_plain")


def only_result(folder: Path, of: Cell, events: list[Line], exitstatus: int = 1) -> CellResult:
    """The result of the one planned cell of a run with these events in its middle."""
    head = good_run([])[2]
    verdict = verdict_on(folder, [start(), plan([of]), head, *events, finish(exitstatus)])
    assert len(verdict.results) == 1
    return verdict.results[0]


def test_a_run_in_which_all_is_well_is_accepted(tmp_path: Path) -> None:
    verdict = verdict_on(tmp_path, good_run([TIMED, PLAIN]))
    assert verdict.word is Word.ACCEPTED
    assert verdict.exit_status == 0
    assert verdict.statement == "ACCEPTED over -m tiny: 2 of 2 checks passed"
    assert (verdict.gaps, verdict.faults, verdict.notes) == ((), (), (OLD_FORMAT,))
    assert [result.duration for result in verdict.results] == [0.75, 0.75]


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_a_failure_in_any_phase_fails_the_cell(tmp_path: Path, phase: str) -> None:
    broken = report(PLAIN, phase, "failed", crash("RuntimeError: no\nwhere"))
    events = [broken if when == phase else report(PLAIN, when) for when in ("setup", "call", "teardown")]
    result = only_result(tmp_path, PLAIN, events)
    assert result.outcome is CellOutcome.FAIL
    assert result.reason == ("" if phase == "call" else f"{phase}: ") + "RuntimeError: no\nwhere"


def test_an_error_of_a_plugin_beside_the_check_hides_no_failure_and_is_no_pass(tmp_path: Path) -> None:
    foreign = {RAISED_BY: "monitor"}
    ends = {when: report(PLAIN, when, "failed", crash("OSError: no"), **foreign) for when in ("call", "teardown")}
    good = [report(PLAIN, "setup"), report(PLAIN, "call")]
    bare = only_result(tmp_path / "a", PLAIN, [*good, ends["teardown"]])
    assert (bare.outcome, bare.fix) == (CellOutcome.NOT_RUN, "run without the plugin: -p no:monitor")
    assert bare.reason.endswith("raised an error of its own: teardown: OSError: no")
    failed = [good[0], report(PLAIN, "call", "failed", crash("Failed: 3 s")), ends["teardown"]]
    assert only_result(tmp_path / "b", PLAIN, failed).reason == "3 s"
    called = line(Event.CALL, cell=PLAIN.id, started="2026-11-20T15:21:16+00:00", seconds=1.0, raised="ValueError: 3 s")
    hidden = [*good, called, ends["teardown"]]
    assert only_result(tmp_path / "c", PLAIN, hidden).outcome is CellOutcome.FAIL
    in_call = [good[0], ends["call"], report(PLAIN, "teardown")]
    assert only_result(tmp_path / "d", PLAIN, in_call).outcome is CellOutcome.FAIL, "a call is the check's"


@pytest.mark.parametrize(
    ("longrepr", "reason"),
    [
        ("worker 'gw0' crashed while running x", "worker 'gw0' crashed while running x"),
        (crash("Failed: not enough"), "not enough"),
        (None, "pytest reports 'failed', and no reason"),
        ({"reprcrash": None}, "pytest reports 'failed', and no reason"),
    ],
)
def test_the_reason_of_a_failure_is_what_pytest_says(tmp_path: Path, longrepr: Any, reason: str) -> None:
    events = [*good_cell(PLAIN), report(PLAIN, "call", "failed", longrepr)]
    assert only_result(tmp_path, PLAIN, events).reason == reason


def test_an_outcome_that_nobody_knows_is_a_failure(tmp_path: Path) -> None:
    result = only_result(tmp_path, PLAIN, [*good_cell(PLAIN), report(PLAIN, "call", "rerun")])
    assert (result.outcome, result.reason) == (CellOutcome.FAIL, "pytest reports 'rerun', and no reason")


def test_a_passed_test_that_did_not_judge_what_it_measures_fails(tmp_path: Path) -> None:
    both = cell("test_both", measures=["load_time", "weight_bytes"])
    events = [*good_cell(PLAIN), *good_cell(both)]
    events = [e for e in events if not (e["event"] == "judgement" and e["metric"] == "load_time")]
    verdict = verdict_on(tmp_path, [start(), plan([both, PLAIN]), good_run([])[2], *events, finish()])
    assert verdict.word is Word.REJECTED
    assert verdict.exit_status == 1
    assert verdict.results[0].reason == "not measured: load_time"
    assert verdict.results[1].outcome is CellOutcome.PASS


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 2.5])
def test_a_bad_judgement_fails_a_test_that_passed(tmp_path: Path, value: float | None) -> None:
    judgement = judged(TIMED, "load_time", value, high=2.0, reason="the clock stood still" if value is None else "")
    result = only_result(tmp_path, TIMED, [*good_cell(TIMED), encode(judgement)], exitstatus=0)
    assert result.outcome is CellOutcome.FAIL
    assert result.reason == judgement["text"]
    assert "limit at most 2.000 s" in result.reason
    assert "[catalogue/tiny.toml: claim[1]]" in result.reason


def test_a_judgement_explains_the_failure_that_it_caused_and_hides_no_other(tmp_path: Path) -> None:
    bad = judged(TIMED, "load_time", 3.0, high=2.0)
    events = [
        report(TIMED, "setup"),
        bad,
        report(TIMED, "call", "failed", crash("Failed: load_time 3 s")),
        report(TIMED, "teardown", "failed", crash("RuntimeError: not returned")),
    ]
    assert only_result(tmp_path, TIMED, events).reason == f"{bad['text']}\nteardown: RuntimeError: not returned"


def test_near_a_bound_is_marginal_and_accepted(tmp_path: Path) -> None:
    near = judged(TIMED, "load_time", 1.95, high=2.0, margin=0.05)
    events = [start(), plan([TIMED]), good_run([])[2], *good_cell(TIMED), near, finish()]
    verdict = verdict_on(tmp_path, events)
    assert verdict.word is Word.ACCEPTED
    assert verdict.results[0].outcome is CellOutcome.MARGINAL
    assert verdict.results[0].reason == near["text"]
    assert verdict.statement == "ACCEPTED over -m tiny: 0 of 1 check passed, 1 marginal"


def test_a_skip_by_the_gate_has_its_code_reason_and_fix(tmp_path: Path) -> None:
    skipped = [report(PLAIN, "setup", "skipped", ["x.py", 1, "Skipped: skip[vram]: ..."]), report(PLAIN, "teardown")]
    decision = gate("tiny-llama/nf4", "skip", code="vram", have="24 GB", need="43 GB", fix="use a bigger GPU", text="x")
    result = only_result(tmp_path, PLAIN, [decision, *skipped], exitstatus=0)
    assert (result.outcome, result.code) == (CellOutcome.SKIP, "vram")
    assert (result.reason, result.fix) == ("has 24 GB, needs 43 GB", "use a bigger GPU")


def test_what_a_test_lacks_beside_its_variant_has_a_code_and_a_fix(tmp_path: Path) -> None:
    skip = Skip(code=SkipCode.REGISTRATION, have="no copy, needs must", need="its files", fix="register; then go on")
    skipped = [report(PLAIN, "setup", "skipped", ["x.py", 1, f"Skipped: {skip}"]), report(PLAIN, "teardown")]
    result = only_result(tmp_path, PLAIN, [gate("tiny-llama/nf4", "run"), *skipped], exitstatus=0)
    assert (result.outcome, result.code, result.fix) == (CellOutcome.SKIP, "registration", "register; then go on")
    assert result.reason == "has no copy, needs must, needs its files"


def test_only_the_text_of_a_skip_is_read_as_one() -> None:
    skip = Skip(code=SkipCode.DATA, have="a", need="b", fix="c")
    assert Skip.from_text(str(skip)) == skip
    ended = replace(skip, have="what a driver said: mismatch.", need="0.5 s ...")
    assert str(ended).startswith("skip[data]: has what a driver said: mismatch, needs 0.5 s ...; fix: ")
    assert Skip.from_text(str(ended)) == ended
    assert Skip.from_text(str(skip).replace("[data]", "[date]")) is None
    assert Skip.from_text("it was late") is None


def test_a_test_that_skips_itself_gives_its_own_reason(tmp_path: Path) -> None:
    skipped = report(PLAIN, "call", "skipped", ["x.py", 1, "Skipped: nothing to compare"])
    result = only_result(tmp_path, PLAIN, [gate("tiny-llama/nf4"), *good_cell(PLAIN), skipped], exitstatus=0)
    assert (result.outcome, result.code, result.fix) == (CellOutcome.SKIP, None, None)
    assert result.reason == "nothing to compare"


def test_an_expected_failure_is_a_skip_and_an_unexpected_pass_fails(tmp_path: Path) -> None:
    expected = [report(PLAIN, "setup"), report(PLAIN, "call", "skipped", crash("assert 0"), wasxfail="known")]
    result = only_result(tmp_path, PLAIN, [*expected, report(PLAIN, "teardown")])
    assert (result.outcome, result.code) == (CellOutcome.SKIP, "xfail")
    assert result.reason == "expected to fail (known)"
    passed = [report(PLAIN, "setup"), report(PLAIN, "call", wasxfail="known"), report(PLAIN, "teardown")]
    result = only_result(tmp_path, PLAIN, passed)
    assert (result.outcome, result.reason) == (CellOutcome.FAIL, "passed though it was expected to fail (known)")


@pytest.mark.parametrize(
    ("phases", "reason"),
    [
        ([], "no report arrived"),
        (["setup"], "no report of call and teardown"),
        (["setup", "call"], "no report of teardown"),
        (["setup", "teardown"], "no report of call"),
        (["call", "teardown"], "no report of setup"),
    ],
)
def test_a_cell_without_all_its_reports_is_not_run(tmp_path: Path, phases: list[str], reason: str) -> None:
    result = only_result(tmp_path, PLAIN, [report(PLAIN, phase) for phase in phases])
    assert (result.outcome, result.reason) == (CellOutcome.NOT_RUN, reason)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_cell_that_was_not_planned_is_shown_and_forbids_to_accept(tmp_path: Path, allowed: bool) -> None:
    """It says nothing against the node: a plugin had it asked, or the plan is lost."""
    stray = cell("test_stray")
    events = good_run([PLAIN])
    events[0] = start(allow_incomplete=allowed)
    verdict = verdict_on(tmp_path, [*events[:-1], *good_cell(stray), events[-1]])
    assert (verdict.word, verdict.exit_status) == (Word.INCOMPLETE, 6)
    assert verdict.planned == 1
    assert [(result.cell.id, result.outcome) for result in verdict.results] == [
        (PLAIN.id, CellOutcome.PASS),
        (stray.id, CellOutcome.NOT_RUN),
    ]
    assert verdict.results[1].reason == "it was not in the plan: nobody knows what else ran unplanned"
    assert f"1 check ran that no plan has, the first is {stray.id}" in verdict.faults
    assert [gap.fix for gap in verdict.gaps] == [None], "the same command would ask it unplanned once more"


def test_a_cell_that_was_not_planned_and_fails_is_a_failure(tmp_path: Path) -> None:
    stray = cell("test_stray")
    events = good_run([PLAIN])
    broken = [report(stray, "setup"), report(stray, "call", "failed", crash("it broke"))]
    verdict = verdict_on(tmp_path, [*events[:-1], *broken, events[-1]])
    assert verdict.word is Word.REJECTED
    assert verdict.results[1].reason == "it broke"


def test_a_plan_that_was_lost_is_no_failure_of_the_node(tmp_path: Path) -> None:
    """Nor is it an empty selection, which has a status of its own."""
    events = [event for event in good_run([PLAIN]) if event["event"] != "plan"]
    verdict = verdict_on(tmp_path, events)
    assert (verdict.word, verdict.planned, verdict.exit_status) == (Word.INCOMPLETE, 0, 6)
    assert "no plan was recorded" in verdict.statement


def test_everything_skipped_is_incomplete(tmp_path: Path) -> None:
    cells = [cell("test_a"), cell("test_b"), cell("test_c", "tiny-phi/int8")]
    skips = [report(c, "setup", "skipped", ["x.py", 1, "Skipped: x"]) for c in cells]
    gates = [
        gate(v, "skip", code="ram", have=have, need="9 GB", fix="free some RAM", text="x")
        for v, have in (("tiny-llama/nf4", "1 GB"), ("tiny-phi/int8", "2 GB"))
    ]
    verdict = verdict_on(tmp_path, [start(), plan(cells), good_run([])[2], *gates, *skips, finish()])
    assert (verdict.word, verdict.exit_status) == (Word.INCOMPLETE, 6)
    assert verdict.statement == "INCOMPLETE over -m tiny: 0 of 3 checks passed, 3 skipped"
    (gap,) = verdict.gaps
    assert gap.cells == tuple(c.id for c in cells)
    assert gap.fix == "free some RAM"
    assert str(gap) == "3 checks skipped (ram): has 1 GB, needs 9 GB (and 1 more reason)"


def test_gaps_with_different_fixes_stay_apart(tmp_path: Path) -> None:
    cells = [cell("test_a"), cell("test_a", "tiny-phi/int8")]
    gates = [gate(str(c.variant), "skip", code="ram", have="1", need="2", fix=f"fix {c.variant}") for c in cells]
    skips = [report(c, "setup", "skipped", ["x.py", 1, "Skipped: x"]) for c in cells]
    verdict = verdict_on(tmp_path, [start(), plan(cells), good_run([])[2], *gates, *skips, finish()])
    assert [gap.fix for gap in verdict.gaps] == ["fix tiny-llama/nf4", "fix tiny-phi/int8"]


def test_what_was_not_run_is_run_again_by_the_same_command(tmp_path: Path) -> None:
    events = good_run([PLAIN, TIMED])
    events[0] = start(arguments=["-m", "tiny and not phi"])
    verdict = verdict_on(tmp_path, [e for e in events if e.get("cell") != TIMED.id])
    (gap,) = verdict.gaps
    assert (gap.fix, gap.cells) == ("pytest -m 'tiny and not phi'", (TIMED.id,))
    assert str(gap) == "1 check not run: no report arrived"


@pytest.mark.parametrize("end", ["interrupted", "killed"])
def test_what_a_run_did_not_come_to_is_asked_by_one_that_goes_on(tmp_path: Path, end: str) -> None:
    events = [event for event in good_run([PLAIN, TIMED])[:-1] if event.get("cell") != TIMED.id]
    events[0] = start(arguments=["-m", "tiny", "-n", "2", "--report-dir", "my reports"])
    events += [finish(2, interrupted=True, reason="KeyboardInterrupt")] if end == "interrupted" else []
    (gap,) = verdict_on(tmp_path, events).gaps
    assert (gap.fix, gap.cells) == (f"pytest --resume={RUN_ID} '--report-dir=my reports'", (TIMED.id,))
    nowhere = [event for event in events if event["event"] != "node"]
    (gap,) = verdict_on(tmp_path / "nowhere", nowhere).gaps
    assert gap.fix == "pytest -m tiny -n 2 '--report-dir=my reports'", "without a node it could not be resumed"


@pytest.mark.parametrize(
    "given", [["-x"], ["--exitfirst"], ["--maxfail=1"], ["--maxfail", "1"], ["-xv"], ["-vx"], ["--stepwise"], ["--sw"]]
)
def test_what_was_not_run_is_not_stopped_early_once_more(tmp_path: Path, given: list[str]) -> None:
    events = good_run([PLAIN, TIMED])
    events[0] = start(arguments=["-m", "tiny", *given])
    (gap,) = verdict_on(tmp_path, [event for event in events if event.get("cell") != TIMED.id]).gaps
    assert gap.fix == ("pytest -m tiny -v" if "v" in given[0] and not given[0].startswith("--") else "pytest -m tiny")


def test_an_empty_plan_is_incomplete_whatever_is_allowed(tmp_path: Path) -> None:
    for number, events in enumerate(
        (
            [start(allow_incomplete=True), plan([]), good_run([])[2], finish(5)],
            [start(allow_incomplete=True), good_run([])[2], finish(5)],
        )
    ):
        verdict = verdict_on(tmp_path / str(number), events)
        assert (verdict.word, verdict.exit_status) == (Word.INCOMPLETE, 5)
        assert verdict.statement == "INCOMPLETE over -m tiny: nothing was planned"


def test_allow_incomplete_excuses_gaps_and_says_so(tmp_path: Path) -> None:
    skip = report(PLAIN, "setup", "skipped", ["x.py", 1, "Skipped: x"])
    events = [start(allow_incomplete=True), plan([PLAIN]), good_run([])[2], skip, finish()]
    verdict = verdict_on(tmp_path, events)
    assert (verdict.word, verdict.exit_status) == (Word.INCOMPLETE, 0)
    assert verdict.notes == (
        "--allow-incomplete was used: checks without a result do not change the exit status",
        OLD_FORMAT,
    )


def test_allow_incomplete_excuses_neither_a_failure_nor_a_fault(tmp_path: Path) -> None:
    head = [start(allow_incomplete=True), plan([PLAIN]), good_run([])[2]]
    killed = verdict_on(tmp_path / "killed", [*head, *good_cell(PLAIN)])
    assert (killed.word, killed.exit_status) == (Word.INCOMPLETE, 6)
    failed = verdict_on(tmp_path / "failed", [*head, report(PLAIN, "setup", "failed"), finish(1)])
    assert (failed.word, failed.exit_status) == (Word.REJECTED, 1)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda events: events[:-1], "the run did not finish: it was killed, or its last line is lost"),
        (
            lambda events: [*events[:-1], finish(2, interrupted=True, reason="KeyboardInterrupt")],
            "the run was cut short: KeyboardInterrupt",
        ),
        (lambda events: [*events[:-1], finish(2)], "the run was cut short: pytest's exit status was 2"),
        (lambda events: [*events[:-1], finish(3)], "the run was cut short: pytest's exit status was 3"),
        (
            lambda events: [*events[:-1], finish(1)],
            "pytest's exit status was 1, but the evidence shows no failure",
        ),
        (
            lambda events: [e for e in events if e["event"] != "node"],
            "the node was not recorded: nobody knows what the figures belong to",
        ),
        (
            lambda events: [e for e in events if e["event"] != "run"],
            "the first line of the evidence is missing: nobody knows what was asked for",
        ),
        (
            lambda events: [*events, line(Event.COLLECT_ERROR, nodeid="acceptance/test_x.py", text="SyntaxError")],
            "1 file could not be collected, the first is acceptance/test_x.py",
        ),
        (
            lambda events: [*events, plan([PLAIN], worker="gw1")],
            f"main and gw1 planned differently: 1 of 2 checks differ, such as {TIMED.id}",
        ),
        (
            lambda events: [*events, plan([PLAIN])],
            f"{PLAIN.id} was planned twice: one result cannot speak for both",
        ),
    ],
)
def test_a_fault_of_the_run_forbids_to_accept_it(tmp_path: Path, spoil: Any, fault: str) -> None:
    verdict = verdict_on(tmp_path, spoil(good_run([PLAIN, TIMED])))
    assert all(result.outcome is CellOutcome.PASS for result in verdict.results)
    assert (verdict.word, verdict.exit_status) == (Word.INCOMPLETE, 6)
    assert verdict.faults == (fault,)
    assert verdict.statement.endswith(f"2 of 2 checks passed; {fault}")


def test_workers_that_plan_the_same_are_one_plan(tmp_path: Path) -> None:
    events = good_run([PLAIN, TIMED])
    events[1:2] = [plan([PLAIN, TIMED], worker="gw0"), plan([PLAIN, TIMED], worker="gw1")]
    verdict = verdict_on(tmp_path, events)
    assert (verdict.word, verdict.planned) == (Word.ACCEPTED, 2)


def test_a_writer_that_failed_forbids_to_accept_the_run(tmp_path: Path) -> None:
    record = recorded(tmp_path, good_run([PLAIN]))
    verdict = reach_verdict(record, evidence_failure="evidence.jsonl takes no more (No space left on device)")
    assert (verdict.word, verdict.exit_status) == (Word.INCOMPLETE, 6)
    assert verdict.faults == ("evidence.jsonl takes no more (No space left on device)",)


def test_notes_say_what_a_reader_must_know(tmp_path: Path) -> None:
    synthetic = cell("test_s", weights="synthetic")
    events = good_run([PLAIN, synthetic])
    own = {"path": "mine.toml", "sha256": "1" * 64, "shipped": False}
    events[0] = start(limits_are_shipped=False, catalogues=[*events[0]["catalogues"], own])
    events[1] = plan([PLAIN, synthetic], deselected=7)
    verdict = verdict_on(tmp_path, events)
    assert verdict.word is Word.ACCEPTED
    assert verdict.notes == (
        "limits are not the shipped ones: mine.toml",
        "weights are synthetic in 1 of 2 checks: load time from disk and meaning of the text are not judged there",
        "deselected, and so not in this scope: 7 checks",
        OLD_FORMAT,
    )


def test_notes_say_what_altered_variants_leave_open(tmp_path: Path) -> None:
    variants = ("one/nf4:cpu", "one:1-layer/nf4:cpu", "one:2-layers/nf4")
    cells = [cell(f"test_{number}", variant=variant) for number, variant in enumerate(variants)]
    assert verdict_on(tmp_path, good_run([PLAIN, *cells])).notes == (
        "cpu in 2 of 4 checks: it stands in for a GPU, whose memory and speed are not measured there",
        "1-layer in 1 of 4 checks: what the whole model takes is not measured there",
        "2-layers in 1 of 4 checks: what the whole model takes is not measured there",
        OLD_FORMAT,
    )


@pytest.mark.parametrize(
    ("selection", "scope"),
    [
        ({}, "the whole suite"),
        ({"mark": "tiny and not phi", "keyword": "", "paths": []}, "-m 'tiny and not phi'"),
        ({"mark": "", "keyword": "load", "paths": ["acceptance/test_load.py"]}, "-k load acceptance/test_load.py"),
        ({"mark": "tiny", "options": {"weights": "synthetic", "layers": 1}}, "-m tiny --weights=synthetic --layers=1"),
        ({"options": {"device": "cpu"}}, "the whole suite --device=cpu"),
    ],
)
def test_the_scope_is_the_options_that_select_it_again(tmp_path: Path, selection: Line, scope: str) -> None:
    events = good_run([PLAIN])
    events[0] = start(selection={"mark": "", "keyword": "", "paths": [], **selection})
    assert verdict_on(tmp_path, events).scope == scope


# What must be there for ACCEPTED: the essence of the whole suite, so it is not left to examples.

CELLS = [
    cell("test_time", "tiny-phi/bf16", measures=["load_time", "weight_bytes"]),
    cell("test_plain", "tiny-phi/bf16"),
    cell("test_memory", "tiny-phi/nf4", measures=["ram_peak"]),
]
GOOD = good_run(CELLS)


def word_on(events: list[Line]) -> Word:
    with tempfile.TemporaryDirectory() as folder:
        write_events(Path(folder), events)
        return reach_verdict(read_run(Path(folder))).word


@given(kept=st.sets(st.integers(0, len(GOOD) - 1), min_size=1))
@settings(max_examples=150, deadline=None)
def test_no_combination_of_missing_events_is_accepted(kept: set[int]) -> None:
    events = [event for number, event in enumerate(GOOD) if number in kept]
    assert (word_on(numbered(events)) is Word.ACCEPTED) == (len(kept) == len(GOOD))


@pytest.mark.parametrize("missing", range(len(GOOD)))
def test_no_single_missing_event_is_accepted(missing: int) -> None:
    assert word_on(numbered(GOOD)) is Word.ACCEPTED
    never_written = numbered([event for number, event in enumerate(GOOD) if number != missing])
    assert word_on(never_written) is not Word.ACCEPTED


@given(order=st.permutations(range(len(GOOD))), cut=st.integers(0, 60), at=st.integers(0, len(GOOD) - 1))
@settings(max_examples=100, deadline=None)
def test_order_does_not_matter_and_any_damage_does(order: list[int], cut: int, at: int) -> None:
    events = numbered(GOOD)
    shuffled = [events[number] for number in order]
    assert word_on(shuffled) is Word.ACCEPTED
    with tempfile.TemporaryDirectory() as folder:
        path = write_events(Path(folder), shuffled)
        lines = path.read_bytes().splitlines(keepends=True)
        lines[at] = lines[at][: min(cut, len(lines[at]) - 2)] + b"\n"
        path.write_bytes(b"".join(lines))
        assert reach_verdict(read_run(Path(folder))).word is not Word.ACCEPTED


SPOILT_REPORTS = st.tuples(st.integers(0, len(CELLS) - 1), st.sampled_from(["failed", "skipped", "error", "rerun"]))


@given(spoilt=st.lists(SPOILT_REPORTS, min_size=1, max_size=3), when=st.sampled_from(["setup", "call", "teardown"]))
@settings(max_examples=50, deadline=None)
def test_no_bad_report_beside_good_ones_is_accepted(spoilt: list[tuple[int, str]], when: str) -> None:
    extra = [report(CELLS[number], when, outcome) for number, outcome in spoilt]
    assert word_on(numbered([*GOOD, *extra])) is not Word.ACCEPTED
    assert word_on(numbered([*extra, *GOOD])) is not Word.ACCEPTED


@given(value=st.floats(allow_nan=False) | st.sampled_from(["NaN", "Infinity", "-Infinity", None, "1.0", True, [1]]))
@settings(max_examples=100, deadline=None)
def test_a_figure_is_judged_by_itself_not_by_the_word_beside_it(value: Any) -> None:
    events = json.loads(json.dumps(numbered(GOOD)))
    judgement = next(event for event in events if event["event"] == "judgement")
    judgement["value"] = value
    good = isinstance(value, float) and math.isfinite(value) and value <= 2.0
    assert (word_on(events) is Word.ACCEPTED) == good


@pytest.mark.parametrize(
    ("found", "notes"),
    [
        ({"known": 4, "unknown": [], "changed": []}, []),
        (
            {"known": 0, "unknown": ["a.safetensors", "config.json"], "changed": []},
            ["nothing vouches for the files of /mine: no digest of any of them is known"],
        ),
        (
            {"known": 3, "unknown": ["tekken.json"], "changed": ["config.json"]},
            [
                "no digest is known of 1 file of /mine, such as tekken.json",
                "1 file of /mine was changed since their digests were noted: config.json",
            ],
        ),
        ({"known": 2, "unknown": 7, "changed": {"a": 1}}, []),
    ],
)
def test_files_that_nobody_vouches_for_stand_in_the_scope(
    tmp_path: Path, found: dict[str, Any], notes: list[str]
) -> None:
    ours = {"state": "vouched", "repository": None, "revision": None, "commit": None, "folder": "/mine", **found}
    first, *rest = good_run([PLAIN])
    verdict = verdict_on(tmp_path, [first, line(Event.HUB, **ours), *rest])
    assert verdict.word is Word.ACCEPTED
    assert [note for note in verdict.notes if "/mine" in note] == notes


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        ({"model_dir": ["tiny-llama=/mine"]}, ["weights are not the entry's own: tiny-llama=/mine (--model-dir)"]),
        (
            {"model_dir": ["one=/a", "two=/b"], "weights": "local"},
            [
                "weights are not the entry's own: one=/a (--model-dir)",
                "weights are not the entry's own: two=/b (--model-dir)",
                "weights are not the entries' own where those name others: --weights=local",
            ],
        ),
        ({"weights": "hub"}, ["weights are not the entries' own where those name others: --weights=hub"]),
        ({"weights": "auto"}, []),
        ({}, []),
    ],
)
def test_weights_that_are_not_the_entrys_own_stand_in_the_scope(
    tmp_path: Path, options: dict[str, Any], notes: list[str]
) -> None:
    selection = {"mark": "tiny", "keyword": "", "paths": [], "options": options}
    events = [start(selection=selection), *good_run([PLAIN])[1:]]
    verdict = verdict_on(tmp_path, events)
    assert verdict.word is Word.ACCEPTED
    assert [note for note in verdict.notes if note.startswith("weights")] == notes


def test_an_adapter_that_was_left_out_is_noted_once(tmp_path: Path) -> None:
    told = "/mine/adapter_config.json: an adapter lies beside the weights, and was not loaded: peft is not installed"
    variant = "tiny-llama/nf4"
    loaded = {"seconds": 2.0, "checkpoint_bytes": 4 * 10**6, "warnings": ["transformers: a key is unused", told]}
    loads = [line(Event.LOAD, variant=variant, cache=cache, report=loaded) for cache in ("cold", "warm")]
    first, *rest = good_run([PLAIN])
    assert [note for note in verdict_on(tmp_path, [first, *loads, *rest]).notes if "adapter" in note] == [
        f"{told}; with it, another model is loaded"
    ]
