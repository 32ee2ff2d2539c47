"""Waivers: every fault of the file with its place, what they cover, and that every report says who, why and until."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from plimsoll.evidence.events import Event
from plimsoll.evidence.record import Cell
from plimsoll.report.closing import closing_lines
from plimsoll.report.results import results, results_schema
from plimsoll.report.write import summary_text
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Verdict, Word, reach_verdict
from plimsoll.verdict.waivers import WaiverError, Waivers, parse_waivers, read_waivers
from tests.support.pages import header
from tests.support.run_events import (
    AT,
    HOSTILE,
    OLD_FORMAT,
    Line,
    cell,
    crash,
    finish,
    gate,
    good_cell,
    good_run,
    line,
    plan,
    recorded,
    report,
    start,
)

TODAY = date(2026, 11, 20)
GOOD, SLOW = cell("test_good"), cell("test_slow")
SKIPPED, LOST = cell("test_skipped", "tiny-phi/int8"), cell("test_lost", "tiny-phi/int8")
CELLS = [GOOD, SLOW, SKIPPED, LOST]
EVENTS: list[Line] = [
    start(),
    plan(CELLS),
    good_run([])[2],
    gate("tiny-phi/int8", "skip", code="vram", have="24 GB", need="43 GB", fix="use a bigger GPU", text="x"),
    *good_cell(GOOD),
    report(SLOW, "setup"),
    report(SLOW, "call", "failed", crash("Failed: too slow")),
    report(SLOW, "teardown"),
    report(SKIPPED, "setup", "skipped", ["x.py", 1, "Skipped: x"]),
    finish(1),
]


def entry(cells: str = "*test_slow*", **changes: str) -> str:
    """One waiver as TOML."""
    fields = {"cells": f"'{cells}'", "who": "'J. Rossi'", "why": "'OPS-7'", "until": "2026-12-31", **changes}
    return "\n".join(["[[waiver]]", *(f"{key} = {value}" for key, value in fields.items() if value)]) + "\n"


def waivers(*entries: str) -> Waivers:
    return parse_waivers("".join(entries), "waivers.toml", TODAY)


def faults_of(text: str) -> list[str]:
    with pytest.raises(WaiverError) as caught:
        parse_waivers(text, "waivers.toml", TODAY)
    return [str(fault) for fault in caught.value.faults]


EXAMPLE = "a [[waiver]] has `cells`, `who`, `why` and `until`"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", [f"waivers.toml: holds no waiver; {EXAMPLE}"]),
        ("waiver = 3", [f"waivers.toml: holds no waiver; {EXAMPLE}"]),
        ("waiver = [3]", [f"waivers.toml: waiver[0]: is not a table; {EXAMPLE}"]),
        ("waivers = []", ["waivers.toml: unknown table 'waivers'; known: waiver"]),
        (
            entry() + entry(until=""),
            ["waivers.toml: waiver[1].until: is missing; a waiver has an end: until = 2026-12-31"],
        ),
        (
            entry(until="2026-11-19"),
            [
                "waivers.toml: waiver[0].until: expired: 2026-11-19 is before 2026-11-20; "
                "remove the waiver, or let whoever answers for it set a new date"
            ],
        ),
        (
            entry(until="'2026-12-31'"),
            [
                "waivers.toml: waiver[0].until: must be a date, not '2026-12-31'; "
                "write until = 2026-12-31, without quotes"
            ],
        ),
        (
            entry(who="' '", why=""),
            [
                "waivers.toml: waiver[0].who: must be a text, not ' '",
                f"waivers.toml: waiver[0].why: is missing; {EXAMPLE}",
            ],
        ),
        (
            entry(cells="*"),
            [
                "waivers.toml: waiver[0].cells: '*' waives whatever was asked; "
                "name the check or the variant that is waived"
            ],
        ),
        (
            entry(untl="2027-01-01"),
            ["waivers.toml: waiver[0].untl: unknown key 'untl'; did you mean 'until'?"],
        ),
        (
            "[[waiver]\n",
            ["waivers.toml: line 1, column 9: is not valid TOML: Expected ']]' at the end of an array declaration"],
        ),
    ],
)
def test_each_fault_is_told_with_its_place(text: str, faults: list[str]) -> None:
    told = faults_of(text)
    assert len(told) == len(faults)
    assert all(found.startswith(wanted) for found, wanted in zip(told, faults, strict=True)), told
    assert told == faults


def test_a_time_is_no_date_and_the_last_day_still_counts() -> None:
    assert "must be a date" in faults_of(entry(until="2026-12-31T00:00:00Z"))[0]
    assert waivers(entry(until="2026-11-20")).entries[0].until == TODAY


def test_faults_of_all_waivers_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(entry(until="2020-01-01") + entry(who="3"))
    with pytest.raises(WaiverError) as caught:
        read_waivers(tmp_path / "mine.toml", TODAY)
    assert str(caught.value).startswith("2 faults in the waivers:\n  mine.toml: waiver[0].until: expired")
    assert "\n  mine.toml: waiver[1].who: must be a text, not 3" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "is a folder; name the TOML files in it, one by one"),
        (lambda path: path.write_bytes(b"\n\xff"), "line 2: is not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_message(tmp_path: Path, make: object, fault: str) -> None:
    path = tmp_path / "w.toml"
    make(path)  # type: ignore[operator]  # a callable of the parameters
    with pytest.raises(WaiverError) as caught:
        read_waivers(path, TODAY)
    assert str(caught.value) == f"1 fault in the waivers:\n  {path}: {fault}"


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [
        ("acceptance/test_it.py::test_slow[tiny-llama/nf4]", True),
        ("*[tiny-llama/nf4]", True),
        ("acceptance/*::test_slow[[]tiny*", False),
        ("*test_slow?tiny-llama/nf4?", True),
        ("*test_SLOW*", False),
        ("test_slow", False),
        ("acceptance/test_it.py::test_slow[tiny-llama/nf]", False),
        ("*[tl]*", False),
    ],
)
def test_a_pattern_has_two_wildcards_and_brackets_mean_themselves(pattern: str, covers: bool) -> None:
    assert (waivers(entry(pattern)).covering(SLOW.id) is not None) is covers


def verdict_with(folder: Path, events: list[Line], *entries: str) -> Verdict:
    return reach_verdict(recorded(folder, events), waivers=waivers(*entries))


def test_a_run_whose_every_bad_cell_is_waived_is_accepted(tmp_path: Path) -> None:
    verdict = verdict_with(tmp_path, EVENTS, entry(), entry("*[tiny-phi/int8]", who="'A. Kim'"))
    assert verdict.word is Word.ACCEPTED
    assert verdict.exit_status == 0
    assert verdict.statement == "ACCEPTED over -m tiny: 1 of 4 checks passed, 3 waived"
    assert verdict.gaps == ()
    assert verdict.faults == ()
    by_id = {result.cell.id: result for result in verdict.results}
    assert [by_id[c.id].waived for c in CELLS] == [None, CellOutcome.FAIL, CellOutcome.SKIP, CellOutcome.NOT_RUN]
    assert by_id[SLOW.id].reason == "too slow"
    assert str(by_id[SKIPPED.id].waiver) == "waived by A. Kim until 2026-12-31: OPS-7"


@pytest.mark.parametrize(
    ("covered", "word"),
    [(SLOW, Word.INCOMPLETE), (SKIPPED, Word.REJECTED), (LOST, Word.REJECTED)],
)
def test_what_is_not_waived_still_counts(tmp_path: Path, covered: Cell, word: Word) -> None:
    assert verdict_with(tmp_path, EVENTS, entry(covered.id)).word is word


def test_the_first_waiver_that_covers_a_cell_answers_for_it(tmp_path: Path) -> None:
    verdict = verdict_with(tmp_path, EVENTS, entry(who="'first'"), entry("*[tiny-llama/nf4]", who="'second'"))
    waiver = next(result.waiver for result in verdict.results if result.cell == SLOW)
    assert waiver is not None
    assert waiver.who == "first"


def test_a_waived_cell_that_passes_is_noted(tmp_path: Path) -> None:
    verdict = verdict_with(tmp_path, good_run([GOOD, SLOW]), entry())
    assert verdict.statement == "ACCEPTED over -m tiny: 2 of 2 checks passed"
    assert verdict.notes == (OLD_FORMAT, f"waivers.toml: waiver[0] waives {SLOW.id}, which passed without it")


def test_a_waiver_that_covers_nothing_forbids_to_accept(tmp_path: Path) -> None:
    verdict = verdict_with(tmp_path, good_run([GOOD]), entry())
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == (
        "waivers.toml: waiver[0].cells: '*test_slow*' covers no planned check; "
        "correct the pattern, or remove the waiver",
    )


def test_waivers_excuse_cells_and_nothing_else(tmp_path: Path) -> None:
    everything = entry("*tiny-*")
    killed = verdict_with(tmp_path / "killed", EVENTS[:-1], everything)
    assert (killed.word, killed.exit_status) == (Word.INCOMPLETE, 6)
    stray = [*EVENTS[:-1], *good_cell(cell("test_stray")), EVENTS[-1]]
    unplanned = verdict_with(tmp_path / "stray", stray, everything)
    assert (unplanned.word, unplanned.exit_status) == (Word.INCOMPLETE, 6)
    empty = verdict_with(tmp_path / "empty", [start(), plan([]), good_run([])[2], finish(5)], everything)
    assert (empty.word, empty.exit_status) == (Word.INCOMPLETE, 5)


def with_recorded(events: list[Line], text: str, at: str = AT) -> list[Line]:
    return [events[0], {**line(Event.WAIVERS, path="w.toml", sha256="0" * 64, text=text), "at": at}, *events[1:]]


def test_recorded_waivers_hold_as_of_the_day_of_the_run(tmp_path: Path) -> None:
    text = entry(until="2026-11-20") + entry("*[tiny-phi/int8]", until="2026-11-20")
    record = recorded(tmp_path / "then", with_recorded(EVENTS, text))
    assert reach_verdict(record).word is Word.ACCEPTED
    late = reach_verdict(recorded(tmp_path / "late", with_recorded(EVENTS, text, "2026-11-21T00:00:00+00:00")))
    assert late.word is Word.REJECTED
    assert late.faults[0].startswith("w.toml: waiver[0].until: expired: 2026-11-20 is before 2026-11-21")


def test_the_day_of_the_run_is_that_of_utc(tmp_path: Path) -> None:
    text = entry(until="2026-11-20") + entry("*[tiny-phi/int8]")
    tokyo = with_recorded(EVENTS, text, "2026-11-21T08:00:00+09:00")
    assert reach_verdict(recorded(tmp_path, tokyo)).word is Word.ACCEPTED


def test_waivers_that_are_given_take_the_place_of_recorded_ones(tmp_path: Path) -> None:
    record = recorded(tmp_path, with_recorded(EVENTS, entry() + entry("*[tiny-phi/int8]")))
    assert reach_verdict(record, waivers=waivers(entry())).word is Word.INCOMPLETE


def test_every_report_says_who_why_and_until(tmp_path: Path) -> None:
    record = recorded(tmp_path, EVENTS)
    verdict = reach_verdict(record, waivers=waivers(entry(), entry("*[tiny-phi/int8]", why="'no such GPU yet'")))
    lines = closing_lines(record, verdict)
    assert lines[0] == "planned 4 checks: 1 passed, 0 marginal, 3 waived, 0 failed, 0 skipped, 0 not run"
    assert f"  {SLOW.id} (fail): waived by J. Rossi until 2026-12-31: OPS-7" in lines
    assert f"  {LOST.id} (not_run): waived by J. Rossi until 2026-12-31: no such GPU yet" in lines
    summary = summary_text(record, verdict)
    assert f"- `{SLOW.id}`: waived by J. Rossi until 2026-12-31: OPS-7; without the waiver fail: `too slow`" in summary
    assert "| `tiny-llama/nf4` | 1/2 (1 waived) |" in summary
    page = header(record, verdict)
    assert "waived by J. Rossi until 2026-12-31: OPS-7" in page
    assert "without the waiver fail: too slow" in page
    data = results(record, verdict)
    jsonschema.Draft202012Validator(results_schema()).validate(data)
    assert data["verdict"]["counts"]["waived"] == 3
    assert data["cells"][1]["waiver"] == {
        "outcome": "fail",
        "who": "J. Rossi",
        "why": "OPS-7",
        "until": "2026-12-31",
        "cells": "*test_slow*",
        "where": "waivers.toml: waiver[0]",
    }
    lie = json.loads(json.dumps(data))
    lie["cells"][1]["waiver"] = None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(results_schema()).validate(lie)


def test_the_words_of_a_waiver_cannot_forge_a_report(tmp_path: Path) -> None:
    record = recorded(tmp_path, EVENTS)
    hostile = json.dumps(HOSTILE).replace("\\u202e", "x").replace("\\u001b", "")
    verdict = reach_verdict(record, waivers=waivers(entry(why=hostile)))
    assert "<script>" not in header(record, verdict)
    assert not any(shown.startswith("ACCEPTED") for shown in closing_lines(record, verdict))
    assert "\nACCEPTED" not in summary_text(record, verdict)


@pytest.mark.parametrize(
    "cells",
    ["a*", "acceptance/*", "*]", "*:*", "*::test_*[*", "????*", "acceptance/test_*.py::test_*", "*_*", "*.py*", "*/?*"],
)
def test_a_pattern_that_names_nothing_is_refused(cells: str) -> None:
    assert faults_of(entry(cells)) == [
        f"waivers.toml: waiver[0].cells: {cells!r} waives whatever was asked; "
        "name the check or the variant that is waived"
    ]


def test_wildcards_cover_what_a_person_can_count() -> None:
    ids = [f"acceptance/test_load.py::test_{n}[tiny-{kind}/nf4]" for n in range(30) for kind in ("llama", "phi")]
    both = waivers(entry("*tiny-llama/*"), entry("*tiny-phi/*"))
    assert [str(fault) for fault in both.faults_over(ids)] == [
        "waivers.toml: waiver[0].cells, waivers.toml: waiver[1].cells: wildcards cover 60 of 60 planned checks; they "
        "may cover at most half of them, and at most 50; name the checks one by one, without wildcards"
    ]
    assert waivers(entry("*tiny-llama/*")).faults_over(ids) == ()
    assert waivers(entry("*tiny-llama/*")).faults_over(ids[:20] + ids[20:60:2]) != ()
    assert waivers(*map(entry, ids)).faults_over(ids) == (), "what is named one by one was counted"
    many = [f"acceptance/test_load.py::test_{n}[tiny-llama/nf4]" for n in range(51)] + ids * 1
    assert waivers(entry("*tiny-llama/*")).faults_over([*many, *(f"x::{n}" for n in range(900))]) != ()


@pytest.mark.parametrize(
    "who",
    [
        "\\u200b",
        "\\u2800",
        "\\u3164",
        "\\u00ad\\u200d",
        "J. \\u202eissoR",
        "J\\u0008. Rossi",
        "...",
        "\\u2066J. Rossi\\u2069",
    ],
)
def test_a_name_that_nobody_sees_is_refused(who: str) -> None:
    [fault] = faults_of(entry(who=f'"{who}"'))
    assert fault.startswith("waivers.toml: waiver[0].who: holds nothing that a reader sees, or characters that hide ")
    for seen in ("李雷", "Мария", "نگار\u200cی", "J. Rossi, OPS-7", "X Æ A-12"):
        assert waivers(entry(who=f'"{seen}"')).entries[0].who == seen


def test_a_waiver_ends_within_a_year() -> None:
    assert waivers(entry(until="2027-11-20")).entries
    assert faults_of(entry(until="9999-12-31")) == [
        "waivers.toml: waiver[0].until: 9999-12-31 is more than a year after 2026-11-20; "
        "set a day within a year; whoever answers for it can renew it then"
    ]


def test_the_first_line_says_how_many_are_waived(tmp_path: Path) -> None:
    verdict = verdict_with(tmp_path, EVENTS, entry(), entry("*[tiny-phi/int8]"))
    assert verdict.statement.endswith(" passed, 3 waived")
