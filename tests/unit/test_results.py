"""results.json, summary.md, benchmark.json and the terminal's lines: what each says of a run with every outcome."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from plimsoll.evidence.record import RunRecord
from plimsoll.present.foreign_text import one_line, printable
from plimsoll.present.markdown import escaped as markdown
from plimsoll.report.closing import closing_lines, fitted
from plimsoll.report.node_card import node_card
from plimsoll.report.results import results, results_text
from plimsoll.report.write import summary_text, write_atomically, write_reports
from plimsoll.verdict.verdict import Verdict, reach_verdict
from tests.support.run_events import (
    HOSTILE,
    NODE,
    OLD_FORMAT,
    RUN_ID,
    Line,
    cell,
    crash,
    finish,
    good_run,
    judged,
    plan,
    recorded,
    report,
    run_of_every_outcome,
    start,
)
from tests.support.schemas import validator


def told(folder: Path, events: list[Line]) -> tuple[RunRecord, Verdict]:
    record = recorded(folder, events)
    return record, reach_verdict(record)


def validate(data: Any) -> None:
    validator("results").validate(data)


@pytest.mark.parametrize(
    "events",
    [
        run_of_every_outcome(),
        good_run([cell("test_it", measures=["load_time"])]),
        good_run([cell("test_it")])[:1],
        good_run([])[2:3],
        [start(), plan([]), finish(5)],
    ],
    ids=["every outcome", "accepted", "killed at once", "no first line", "empty"],
)
def test_results_follow_their_schema(tmp_path: Path, events: list[Line]) -> None:
    text = results_text(*told(tmp_path, events))
    validate(json.loads(text, parse_constant=pytest.fail))


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_results_name_what_json_cannot_hold(tmp_path: Path, value: float | None) -> None:
    timed = cell("test_it", measures=["load_time"])
    bad = judged(timed, "load_time", value, 2.0, reason="x" if value is None else "")
    encoded = {**bad, "value": {"nan": "NaN", "inf": "Infinity"}.get(str(value))}
    data = results(*told(tmp_path, [*good_run([timed]), encoded]))
    validate(data)
    assert data["cells"][0]["judgements"][1]["value"] == encoded["value"]


def test_the_schema_refuses_what_would_be_a_lie(tmp_path: Path) -> None:
    data = results(*told(tmp_path, good_run([cell("test_it")])))
    validate(data)
    for path, value in (
        (("verdict", "planned"), 0),
        (("verdict", "faults"), ["the run did not finish"]),
        (("verdict", "counts", "skip"), 1),
        (("cells", 0, "outcome"), "fail"),
        (("cells", 0, "outcome"), "maybe"),
        (("schema",), "plimsoll/results/2"),
        (("more",), 1),
    ):
        spoilt = json.loads(json.dumps(data))
        place = spoilt
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            validate(spoilt)


def test_reports_made_twice_are_the_same_bytes(tmp_path: Path) -> None:
    record, verdict = told(tmp_path, run_of_every_outcome())
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert write_reports(record, verdict, tmp_path / name) == []
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"results.json", "summary.md"}


def test_the_terminal_ends_with_the_verdict(tmp_path: Path) -> None:
    assert closing_lines(*told(tmp_path, run_of_every_outcome())) == [
        "planned 7 checks: 1 passed, 1 marginal, 2 failed, 2 skipped, 1 not run",
        "failed:",
        "  acceptance/test_it.py::test_slow[tiny-llama/nf4]: fail: load_time 3.000 s; limit at most 2.000 s, "
        "50.0% outside [catalogue/tiny.toml: claim[1]]",
        "  acceptance/test_it.py::test_talks[tiny-phi/int8]: it said "
        "<script>alert(1)</script>|`x`\\x1b[2J\\u202e ACCEPTED over everything",
        "what to do:",
        "  what each check proves, and what to do: plimsoll explain test_slow, plimsoll explain test_talks",
        "missing:",
        "  2 checks skipped (vram): has 24 GB, needs 43 GB (see docs/troubleshooting.md#gpu-memory)",
        "    to run them: use <a bigger> GPU",
        "  1 check not run: no report arrived",
        "    to run them: pytest -m tiny",
        "why this run cannot be accepted:",
        "  1 file could not be collected, the first is acceptance/test_x.py",
        "note: limits are not the shipped ones: mine.toml",
        "note: deselected, and so not in this scope: 3 checks",
        f"note: {OLD_FORMAT}",
        f"evidence and reports: {tmp_path / RUN_ID}",
        "REJECTED over -m tiny: 1 of 7 checks passed, 1 marginal, 2 failed, 2 skipped, 1 not run",
    ]


def test_a_narrow_terminal_breaks_lines_between_words_and_keeps_commands_whole() -> None:
    told = "  a/b.py::test_x[y]: it did not load, and this is a long reason for it"
    assert fitted(told, 40) == ["  a/b.py::test_x[y]: it did not load,", "      and this is a long reason for it"]
    assert fitted(told, None) == [told]
    command = "  to run them: plimsoll run -m 'tiny and not slow' --resume"
    assert fitted(command, 40) == [command]
    name = "  " + "x" * 60
    assert "".join(fitted(f"{name} and more", 40)).replace(" ", "") == "x" * 60 + "andmore"
    assert "x" * 60 in "".join(fitted(f"{name} and more", 40)), "a name is never broken"


def test_the_terminal_shows_some_failures_and_counts_the_rest(tmp_path: Path) -> None:
    cells = [cell(f"test_{n}") for n in range(25)]
    failures = [report(c, "setup", "failed", crash(f"no {n}")) for n, c in enumerate(cells)]
    record, verdict = told(tmp_path, [start(), plan(cells), *failures, finish(1)])
    lines = closing_lines(record, verdict, tmp_path)
    assert sum("setup: no" in shown for shown in lines) == 8
    assert f"  and 17 more, see {tmp_path / 'summary.md'}" in lines
    assert len(lines) <= 25


def test_a_cause_that_fails_many_checks_of_a_variant_is_said_once(tmp_path: Path) -> None:
    cells = [cell(f"test_{n}") for n in range(25)]
    why = "tiny-llama/bf16 did not load: it is damaged"
    failures = [
        report(c, "setup", "failed", crash(why if c is cells[0] else f"not asked, because {why}")) for c in cells
    ]
    lines = closing_lines(*told(tmp_path, [start(), plan(cells), *failures, finish(1)]))
    (found,) = [shown for shown in lines if why in shown]
    assert found.startswith(f"  {cells[0].id} and 24 other checks of {cells[0].variant}: ")


def test_what_checks_find_each_for_itself_is_said_each_for_itself(tmp_path: Path) -> None:
    of_gpus = [cell("test_load", id=f"test_load[tiny-llama/nf4:gpu{n}]", gpu=f"gpu{n}") for n in (0, 3)]
    of_calls = [cell(f"test_{n}", "tiny-phi/nf4") for n in range(2)]
    why = "its host died"
    failures = [report(c, "setup", "failed", crash(why)) for c in of_gpus]
    failures += [report(c, "call", "failed", crash("assert 0 == 1")) for c in of_calls]
    lines = closing_lines(*told(tmp_path, [start(), plan([*of_gpus, *of_calls]), *failures, finish(1)]))
    assert [shown for shown in lines if shown.startswith("  ") and why in shown] == [
        f"  {one.id}: setup: {why}" for one in of_gpus
    ]
    assert [shown for shown in lines if "assert 0 == 1" in shown] == [f"  {one.id}: assert 0 == 1" for one in of_calls]


def test_the_summary_puts_the_verdict_first_and_misses_nothing(tmp_path: Path) -> None:
    text = summary_text(*told(tmp_path, run_of_every_outcome()))
    assert text.startswith(
        "# REJECTED over -m tiny: 1 of 7 checks passed, 1 marginal, 2 failed, 2 skipped, 1 not run\n"
    )
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections == [
        *("Why this run cannot be accepted", "Notes", "Failures", "Missing", "Recognised, with the next step"),
        *("Variants", "Marginal", "Load times", "Node"),
    ]
    assert "fail: load_time 3.000 s; limit at most 2.000 s, 50.0% outside [catalogue/tiny.toml: claim[1]]" in text
    assert "```text\nuse <a bigger> GPU\n```" in text
    assert "- `acceptance/test_it.py::test_b[tiny-mixtral/nf4-dq]`" in text
    assert "| `tiny-mixtral/nf4-dq` |  | 0/2 (2 skipped) |  |  |" in text
    assert "| `(node)` | 1/1 |  |  |  |" in text
    assert "| `tiny-llama/nf4` | cold | 2.000 s | 4.00 MB (3.81 MiB) | 2.00 MB (1.91 MiB)/s |" in text


def test_model_text_cannot_break_out_of_the_summary(tmp_path: Path) -> None:
    talks = cell("test_it", "m`/|x\n# ACCEPTED")
    said = f"```\n# ACCEPTED\n{HOSTILE}"
    events = [start(), plan([talks]), report(talks, "call", "failed", crash(said)), finish(1)]
    text = summary_text(*told(tmp_path, events))
    assert re.findall(r"^# .*", text, re.MULTILINE)[0].startswith("# REJECTED")
    fenced = re.search(r"^````text\n(.*?)\n````$", text, re.MULTILINE | re.DOTALL)
    assert fenced is not None
    assert fenced[1] == printable(said)
    assert re.findall(r"^# .*", text.replace(fenced[0], ""), re.MULTILINE)[1:] == []
    table = [row for row in text.splitlines() if row.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in table} == {3}


def test_markdown_is_escaped_where_it_would_act() -> None:
    assert markdown("<b> *x* [a](b) `c` | _it_ load_time __init__ & ~no~\n# head") == (
        "\\<b\\> \\*x\\* \\[a\\](b) \\`c\\` \\| \\_it\\_ load_time \\_\\_init\\_\\_ \\& \\~no\\~ # head"
    )


def test_foreign_text_drives_no_terminal() -> None:
    assert printable("a\x1b[31m\x07\u202eb\u2028c\td\ne") == "a\\x1b[31m\\x07\\u202eb\\u2028c\td\ne"
    assert printable("naïve 模型 👍") == "naïve 模型 👍"
    assert one_line("a\n\n b\tc\r\nd") == "a b c\\r d"
    assert one_line("x" * 500, longest=10) == "x" * 9 + "…"


def test_what_was_not_read_of_a_node_says_why() -> None:
    card = node_card(NODE)
    assert ("Not read", "MIG mode: not supported") in card
    assert ("Stack", "Python 3.11.7, torch 2.13.0") in card
    assert [text for label, text in card if label == "GPU 0"] == [
        "NVIDIA H200, 150.75 GB (140.40 GiB), compute capability 9.0, UUID GPU-1, serial 123, VBIOS 96.00"
    ]


def test_writing_replaces_a_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    before = path.open()
    write_atomically(path, "new \udcff")
    with before:
        assert before.read() == "old"
    assert path.read_text() == "new \\udcff"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208  the names alone
