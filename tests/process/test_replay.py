"""`pytest --replay`: every report once more from evidence, the same to the byte, and never better than the verdict."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from plimsoll.evidence.events import Event
from tests.support.run_events import (
    NODE,
    RUN_ID,
    SOON,
    Line,
    cell,
    crash,
    finish,
    good_cell,
    good_run,
    line,
    numbered,
    plan,
    report,
    run_of_every_outcome,
    start,
    write_events,
)
from tests.support.subsession import ROOT, environment, pytest_says

PAGES = {"results.json", "summary.md", "report.html", "junit.xml"}
ONE, TWO = cell("test_one"), cell("test_two", "tiny-phi/int8")


def replay(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A replay, which runs no check and starts nothing, inside this process."""
    return pytest_says(*map(str, arguments), env=env)


def replay_apart(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A replay in a process of its own."""
    command = [sys.executable, "-m", "pytest", "--color=no", "-p", "no:cacheprovider", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def replayed(folder: Path, events: list[Line], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Replay a run that left these events into its own folder."""
    write_events(folder, numbered(events))
    return replay(f"--replay={folder}", *arguments)


@dataclass(frozen=True)
class Row:
    """A row of pytest-html, as its script would show it."""

    test: str
    result: str
    log: str


class _Blob(HTMLParser):
    blob = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.blob = dict(attrs).get("data-jsonblob") or self.blob


def blob_of(folder: Path) -> dict[str, Any]:
    parser = _Blob()
    parser.feed((folder / "report.html").read_text())
    data: dict[str, Any] = json.loads(parser.blob)
    return data


def rows_of(folder: Path) -> list[Row]:
    rows = []
    for (entry,) in blob_of(folder)["tests"].values():
        test = re.sub(r"(::collect)?(~\d+)?$", "", entry["testId"])
        log = html.unescape(re.sub(r"<.*?>", "", entry["log"]))
        rows.append(Row(test=test, result=entry["result"], log=log))
    return rows


def cases_of(folder: Path) -> dict[str, list[str]]:
    """Name of each case in junit.xml -> the tags of what went wrong with it."""
    root = ET.parse(folder / "junit.xml").getroot()  # noqa: S314  our own file
    wrong = ("failure", "error", "skipped")
    return {case.attrib["name"]: [child.tag for child in case if child.tag in wrong] for case in root.iter("testcase")}


def test_every_cell_has_its_row_and_the_exit_status_is_the_verdicts(tmp_path: Path) -> None:
    done = replayed(tmp_path, run_of_every_outcome())
    assert done.returncode == 1, done.stdout
    assert done.stdout.splitlines()[-1] == (
        "REJECTED over -m tiny: 1 of 7 checks passed, 1 marginal, 2 failed, 2 skipped, 1 not run"
    )
    assert {path.name for path in tmp_path.iterdir()} == {*PAGES, "evidence.jsonl"}
    results = {row.test.rpartition("::")[2]: row.result for row in rows_of(tmp_path)}
    assert results == {
        "test_node[None]": "Passed",
        "test_near[tiny-llama/nf4]": "Passed",
        "test_slow[tiny-llama/nf4]": "Failed",
        "test_talks[tiny-phi/int8]": "Failed",
        "test_a[tiny-mixtral/nf4-dq]": "Skipped",
        "test_b[tiny-mixtral/nf4-dq]": "Skipped",
        "test_lost[tiny-phi/int8]": "Skipped",
        "acceptance/test_x.py": "Error",
    }
    lost = next(row for row in rows_of(tmp_path) if "test_lost" in row.test)
    assert "not run: no report arrived" in lost.log
    cases = cases_of(tmp_path)
    assert cases["test_slow[tiny-llama/nf4]"] == ["failure"]
    assert cases["test_lost[tiny-phi/int8]"] == ["skipped"]
    assert cases["test_node[None]"] == []
    page = (tmp_path / "report.html").read_text()
    assert page.count("<script") == 2, "ours and pytest-html's"
    assert "REJECTED over -m tiny" in page
    assert f'<title id="head-title">Plimsoll {RUN_ID}</title>' in page


def test_a_second_replay_gives_the_same_bytes(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered(run_of_every_outcome()))
    for name in ("first", "second"):
        replay(f"--replay={tmp_path / 'run'}", f"--report-dir={tmp_path / name}", "-q")
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("first", "second"))
    assert set(first) == PAGES
    assert first == second


def test_pages_speak_of_the_run_and_not_of_the_replay(tmp_path: Path) -> None:
    events = good_run([ONE])
    events[-1] = {**events[-1], "at": "2026-11-20T13:01:06.5+00:00"}
    assert replayed(tmp_path, events).returncode == 0
    suite = next(ET.parse(tmp_path / "junit.xml").getroot().iter("testsuite"))  # noqa: S314  our own file
    assert (suite.attrib["hostname"], suite.attrib["time"]) == ("cargo", "125.500")
    assert suite.attrib["timestamp"] == "2026-11-20T12:59:01+00:00"
    page = (tmp_path / "report.html").read_text()
    assert "Run ended on 20-Nov-2026 at 13:01:06 UTC; page by" in page
    assert "1 test took 0:02:05." in page
    assert blob_of(tmp_path)["environment"] == {}, "that of the process that replays"
    assert f"<dt>Host</dt><dd>{NODE.hostname}, Linux, kernel 6.1.0</dd>" in page
    assert "<dt>Stack</dt><dd>Python 3.11.7, torch 2.13.0</dd>" in page
    assert "<dt>Command</dt><dd>pytest -m tiny</dd>" in page
    assert '<th scope="row">HF_HOME</th><td>/cache</td>' in page


KILLED_IN_TEARDOWN: list[Line] = [
    *(start(), plan([ONE, TWO]), line(Event.NODE, node=NODE.to_json())),
    report(ONE, "setup"),
    report(ONE, "call", "failed", crash("AssertionError: it said nothing"), sections=[["Captured stdout call", "hm"]]),
    report(TWO, "setup"),
]


def test_a_run_that_was_killed_gives_what_it_had_marked_incomplete(tmp_path: Path) -> None:
    path = write_events(tmp_path, numbered(KILLED_IN_TEARDOWN[:4] + KILLED_IN_TEARDOWN[5:]))
    path.write_bytes(path.read_bytes() + b'{"event":"report","at":"2026-11-20T1')
    done = replay(f"--replay={tmp_path}")
    assert done.returncode == 6
    assert done.stdout.splitlines()[-1].startswith(
        "INCOMPLETE over -m tiny: 0 of 2 checks passed, 2 not run; the run did"
    )
    assert "  evidence.jsonl: line 6 is half-written" in done.stdout.splitlines()
    assert {(row.result, row.log.strip()) for row in rows_of(tmp_path)} >= {
        ("Skipped", "('acceptance/test_it.py', None, 'not run: no report of call and teardown')")
    }
    assert "INCOMPLETE" in (tmp_path / "report.html").read_text()


def test_what_a_full_disk_sent_elsewhere_is_in_the_reports_and_the_run_incomplete(tmp_path: Path) -> None:
    events = numbered(good_run([ONE, TWO]))
    write_events(tmp_path / "run", events[:5])
    write_events(tmp_path / "rest", events[5:]).rename(tmp_path / "plimsoll-run-main.jsonl")
    done = replay_apart(f"--replay={tmp_path / 'run'}", env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 6
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        "INCOMPLETE over -m tiny: 2 of 2 checks passed; part of the evidence is not in the run folder"
    )
    assert [row.result for row in rows_of(tmp_path / "run")] == ["Passed", "Passed"]


def test_a_failure_is_shown_though_the_run_was_killed_before_its_teardown(tmp_path: Path) -> None:
    done = replayed(tmp_path, KILLED_IN_TEARDOWN)
    assert done.returncode == 1
    failed, lost = rows_of(tmp_path)
    assert (failed.test, failed.result) == (ONE.id, "Failed")
    assert "it said nothing" in failed.log
    assert (lost.test, lost.result) == (TWO.id, "Skipped")
    assert cases_of(tmp_path) == {"test_one[tiny-llama/nf4]": ["failure"], "test_two[tiny-phi/int8]": ["skipped"]}


def test_a_run_that_was_killed_at_once_has_pages_too(tmp_path: Path) -> None:
    done = replayed(tmp_path, good_run([ONE])[:1])
    assert done.returncode == 5
    assert "nothing was planned" in done.stdout.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} == {*PAGES, "evidence.jsonl"}
    assert "an unknown time" in (tmp_path / "report.html").read_text()


def test_what_pytest_let_pass_fails_here_where_the_verdict_fails_it(tmp_path: Path) -> None:
    timed, stray, broken = cell("test_timed", measures=["load_time"]), cell("test_stray"), cell("test_broken")
    expected = cell("test_expected")
    events = [
        *(start(), plan([timed, expected]), line(Event.NODE, node=NODE.to_json())),
        *[event for event in good_cell(timed) if event["event"] == "report"],
        *[report(expected, when, wasxfail="known") for when in ("setup", "call", "teardown")],
        *good_cell(stray),
        *(report(broken, "setup"), report(broken, "call", "failed", crash("no")), report(broken, "teardown")),
        finish(1),
    ]
    assert replayed(tmp_path, events).returncode == 1
    assert [(row.test.rpartition("::")[2], row.result) for row in rows_of(tmp_path)] == [
        ("test_timed[tiny-llama/nf4]", "Failed"),
        ("test_expected[tiny-llama/nf4]", "Failed"),
        ("test_stray[tiny-llama/nf4]", "Skipped"),
        ("test_broken[tiny-llama/nf4]", "Failed"),
    ]
    assert [kinds for _, kinds in sorted(cases_of(tmp_path).items())] == [
        ["failure"],
        ["failure"],
        ["skipped"],
        ["failure"],
    ]
    assert "not measured: load_time" in (tmp_path / "junit.xml").read_text()


def test_a_report_that_pytest_cannot_read_is_shown_all_the_same(tmp_path: Path) -> None:
    damaged: dict[str, dict[str, Any]] = {
        "other_traceback": {"longrepr": {**crash("boom"), "reprtraceback": {"style": "of tomorrow"}}},
        "no_traceback": {"longrepr": {**crash("boom"), "reprtraceback": 3}},
        "no_reason": {"longrepr": None},
        "other_outcome": {"outcome": "crashed", "longrepr": "boom"},
        "from_xdist": {"longrepr": "boom", "node": "<not JSON: WorkerController>", "duration": "NaN"},
        "bare_skip": {"outcome": "skipped", "longrepr": "boom"},
        "empty_skip": {"outcome": "skipped", "longrepr": None, "location": None},
    }
    cells = {name: cell(f"test_{name}") for name in damaged}
    reports = [
        report(cells[name], **{"when": "call", "outcome": "failed", **fields}) for name, fields in damaged.items()
    ]
    done = replayed(tmp_path, [start(), plan(cells.values()), good_run([])[2], *reports, finish(1)])
    assert done.returncode == 1, done.stdout
    assert "INTERNALERROR" not in done.stdout
    results = {row.test.partition("::test_")[2].partition("[")[0]: row.result for row in rows_of(tmp_path)}
    assert results == {name: "Skipped" if name.endswith("skip") else "Failed" for name in damaged}


WAIVER = f"[[waiver]]\ncells = '*test_one*'\nwho = 'J. Rossi'\nwhy = 'OPS-7 <b>'\nuntil = {SOON}\n"


def test_a_waived_cell_is_an_expected_failure_with_who_why_and_until(tmp_path: Path) -> None:
    fails, skips, lost = cell("test_one_fails"), cell("test_one_skips"), cell("test_one_lost")
    (tmp_path / "waivers.toml").write_text(WAIVER)
    events = [
        *(start(), plan([fails, skips, lost, TWO]), line(Event.NODE, node=NODE.to_json())),
        *(report(fails, "setup"), report(fails, "call", "failed", crash("boom")), report(fails, "teardown")),
        *(report(skips, "setup", "skipped", ["x.py", 1, "Skipped: boom"]), report(skips, "teardown")),
        *good_cell(TWO),
        finish(1),
    ]
    done = replayed(tmp_path / "run", events, f"--waivers={tmp_path / 'waivers.toml'}")
    assert done.stdout.splitlines()[-1] == "ACCEPTED over -m tiny: 1 of 4 checks passed, 3 waived"
    assert done.returncode == 0
    text = f"waived by J. Rossi until {SOON}: OPS-7 <b>"
    rows = rows_of(tmp_path / "run")
    assert [row.result for row in rows] == ["XFailed", "Skipped", "Skipped", "Passed"]
    assert [text in row.log for row in rows] == [True, True, True, False]
    assert "<b>" not in (tmp_path / "run" / "report.html").read_text()
    root = ET.parse(tmp_path / "run" / "junit.xml").getroot()  # noqa: S314  our own file
    assert [text in skipped.attrib["message"] for skipped in root.iter("skipped")] == [True, True, True]
    assert (root[0].attrib["failures"], root[0].attrib["errors"]) == ("0", "0")


def test_a_wrong_waiver_is_a_usage_error(tmp_path: Path) -> None:
    for text, message in (
        (WAIVER.replace(str(SOON), "2001-12-31"), "w.toml: waiver[0].until: expired: 2001-12-31 is before"),
        (WAIVER.replace("test_one", "test_none"), "w.toml: waiver[0].cells: '*test_none*' covers no planned check"),
    ):
        (tmp_path / "w.toml").write_text(text)
        done = replayed(tmp_path / "run", good_run([ONE]), f"--waivers={tmp_path / 'w.toml'}")
        assert done.returncode == 4
        assert message in done.stdout
        assert "Traceback" not in done.stdout
        assert not (tmp_path / "run" / "results.json").exists()


def two_nodes(folder: Path) -> list[Path]:
    """Two runs that do not agree on one of two cells."""
    fails = [report(ONE, "setup"), report(ONE, "call", "failed", crash("boom")), report(ONE, "teardown")]
    barge = {**NODE.to_json(), "hostname": "barge"}
    bad = [plan([ONE, TWO]), line(Event.NODE, node=barge), *fails, *good_cell(TWO), finish(1)]
    return [
        write_events(folder / "a", numbered([start(run_id="a"), *good_run([ONE, TWO])[1:]])).parent,
        write_events(folder / "b", numbered([start(run_id="b"), *bad])).parent,
    ]


def test_several_runs_are_one_report_that_shows_conflicts(tmp_path: Path) -> None:
    runs = [f"--replay={run}" for run in two_nodes(tmp_path)]
    done = replay(*runs, f"--report-dir={tmp_path / 'out'}")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "REJECTED over -m tiny: 1 of 2 checks passed, 1 failed"
    said = f"{ONE.id}: pass in a (on cargo), fail in b (on barge)"
    assert f"  {said}" in done.stdout.splitlines()
    assert {path.name for path in (tmp_path / "out").iterdir()} == PAGES
    both = [row for row in rows_of(tmp_path / "out") if row.test.startswith(ONE.id[:-1])]
    assert [(row.test, row.result) for row in both] == [
        (f"{ONE.id[:-1]}@a]", "Passed"),
        (f"{ONE.id[:-1]}@b]", "Failed"),
    ]
    assert all(said in row.log for row in both)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["evidence.jsonl"]
    assert cases_of(tmp_path / "out") == {
        "test_one[tiny-llama/nf4@a]": [],
        "test_one[tiny-llama/nf4@b]": ["failure"],
        "test_two[tiny-phi/int8]": [],
    }


def test_several_runs_need_a_folder_of_their_own(tmp_path: Path) -> None:
    done = replay(*[f"--replay={run}" for run in two_nodes(tmp_path)])
    assert done.returncode == 4
    assert "reports of several runs belong into no run's folder: name one with --report-dir=FOLDER" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replay=nowhere"], "no run 'nowhere': it is neither a folder nor an evidence file"),
        (["--replay=tests/support/catalogue"], "no evidence in"),
        (["--replay={run}", "--report-dir={run}/evidence.jsonl/x"], "is not writable (Not a directory)"),
    ],
)
def test_what_cannot_be_replayed_is_one_clear_error(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_events(tmp_path, numbered(good_run([ONE])))
    done = replay(*[argument.format(run=tmp_path) for argument in arguments])
    assert done.returncode == 4
    assert message in done.stdout
    assert "Traceback" not in done.stdout


WATCHER = """
import sys
def pytest_unconfigure():
    heavy = sorted({"torch", "transformers", "xdist.dsession", "plimsoll.host.client.process"} & sys.modules.keys())
    print(f"imported: {[name for name in heavy if name in ('torch', 'transformers')]}")
"""


def test_neither_catalogue_nor_workers_nor_torch_take_part(tmp_path: Path) -> None:
    (tmp_path / "watcher.py").write_text(WATCHER)
    write_events(tmp_path / "run", numbered(good_run([ONE])))
    gone = f"plimsoll_catalogues={tmp_path / 'gone.toml'}"
    done = replay_apart(
        *(f"--replay={tmp_path / 'run'}", "-o", gone, "-n", "2", "-p", "watcher", "-x", "-k", "nothing", "-s"),
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout
    assert "imported: []" in done.stdout
    assert "bringing up nodes" not in done.stdout
    assert "workers" not in done.stdout
    assert cases_of(tmp_path / "run") == {"test_one[tiny-llama/nf4]": []}


def test_a_failed_report_does_not_lose_the_verdict(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered(good_run([ONE])))
    (tmp_path / "run" / "report.html").mkdir()
    done = replay(f"--replay={tmp_path / 'run'}")
    assert done.returncode == 6, done.stdout
    assert "a report could not be written: " in done.stdout
    assert done.stdout.splitlines()[-1] == "ACCEPTED over -m tiny: 1 of 1 check passed"
    assert (tmp_path / "run" / "summary.md").exists()
