"""`plimsoll report`: the reports of a run again, from its evidence alone, with the verdict as exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import plimsoll
from tests.support.run_events import (
    RUN_ID,
    SOON,
    Line,
    cell,
    crash,
    finish,
    good_run,
    numbered,
    plan,
    report,
    run_of_every_outcome,
    start,
    write_events,
)

ROOT = Path(__file__).parents[2]


def run_report(*arguments: object, cwd: Path, pages: bool = False) -> subprocess.CompletedProcess[str]:
    without = [] if pages else ["--no-pages"]
    return plimsoll("report", *arguments, *without, cwd=cwd, env={"PYTEST_ADDOPTS": "--no-such-option"})


ONE = cell("test_it")
SKIPPED = [start(), plan([ONE]), good_run([])[2], report(ONE, "setup", "skipped", ["x", 1, "Skipped: no"]), finish()]


@pytest.mark.parametrize(
    ("events", "status", "last"),
    [
        (good_run([ONE]), 0, "ACCEPTED over -m tiny: 1 of 1 check passed"),
        (
            [*good_run([ONE])[:-1], report(ONE, "call", "failed", crash("no")), finish(1)],
            1,
            "REJECTED over -m tiny: 0 of 1 check passed, 1 failed",
        ),
        (SKIPPED, 6, "INCOMPLETE over -m tiny: 0 of 1 check passed, 1 skipped"),
        (
            [start(allow_incomplete=True), *SKIPPED[1:]],
            0,
            "INCOMPLETE over -m tiny: 0 of 1 check passed, 1 skipped",
        ),
        ([start(), plan([]), good_run([])[2], finish(5)], 5, "INCOMPLETE over -m tiny: nothing was planned"),
    ],
)
def test_the_exit_status_is_the_verdicts(tmp_path: Path, events: list[Line], status: int, last: str) -> None:
    write_events(tmp_path / "reports" / RUN_ID, numbered(events))
    (tmp_path / "reports" / "latest").symlink_to(RUN_ID)
    # In a process of its own, for each status.
    command = [sys.executable, "-m", "plimsoll", "report", "latest", "--no-pages"]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.splitlines()[-1] == last
    written = {path.name for path in (tmp_path / "reports" / RUN_ID).iterdir()}
    assert written == {"evidence.jsonl", "results.json", "summary.md"}
    assert (tmp_path / "reports" / RUN_ID / "summary.md").read_text().startswith(f"# {last}\n")


KILLED = """
import os, signal, sys
from pathlib import Path
from plimsoll.evidence.events import Event
from plimsoll.evidence.writer import EvidenceWriter
from tests.support.run_events import cell, good_run
writer = EvidenceWriter(Path(sys.argv[1]))
for event in good_run([cell("test_a"), cell("test_b")])[:7]:
    writer.write(Event(event.pop("event")), **{k: v for k, v in event.items() if k not in ("at", "worker")})
with Path(sys.argv[1]).open("ab") as file:  # what a write leaves that the kill cuts short
    file.write(b'{"event":"report","at":"2026-11')
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_gives_what_it_had_and_is_incomplete(tmp_path: Path) -> None:
    run = tmp_path / "reports" / RUN_ID
    run.mkdir(parents=True)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(run / "evidence.jsonl")], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    done = run_report(run, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (6, "")
    fault = "the run did not finish: it was killed, or its last line is lost"
    assert done.stdout.splitlines()[-1] == (
        f"INCOMPLETE over -m tiny: 1 of 2 checks passed, 1 not run; {fault} (and 1 more fault)"
    )
    assert "  evidence.jsonl: line 8 is half-written" in done.stdout.splitlines()
    data = json.loads((run / "results.json").read_text())
    assert [c["outcome"] for c in data["cells"]] == ["pass", "not_run"]
    assert data["run"]["finished"] is None


def test_the_reports_go_where_they_are_wanted(tmp_path: Path) -> None:
    evidence = write_events(tmp_path / "run", numbered(run_of_every_outcome()))
    done = run_report(evidence, "--output", "new/place", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert sorted(path.name for path in (tmp_path / "new" / "place").iterdir()) == ["results.json", "summary.md"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["evidence.jsonl"]
    assert "evidence and reports: new/place" in done.stdout


def test_a_run_is_named_by_its_id_under_the_reports_folder(tmp_path: Path) -> None:
    write_events(tmp_path / "elsewhere" / RUN_ID, numbered(good_run([ONE])))
    assert run_report(RUN_ID, "--report-dir", "elsewhere", cwd=tmp_path).returncode == 0


def test_no_such_run_is_one_message(tmp_path: Path) -> None:
    done = run_report("latest", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plimsoll: error: no run 'latest': it is neither a folder nor an evidence file, and reports holds no runs\n"
    )


def test_a_report_that_cannot_be_written_still_shows_the_verdict(tmp_path: Path) -> None:
    evidence = write_events(tmp_path / "run", numbered(good_run([ONE])))
    (tmp_path / "out" / "results.json").mkdir(parents=True)
    done = run_report(evidence, "--output", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "ACCEPTED over -m tiny: 1 of 1 check passed"
    assert done.stderr == (
        "plimsoll: error: out/results.json could not be written (Is a directory); use --output DIR for another folder\n"
    )
    assert (tmp_path / "out" / "summary.md").exists()


def test_an_output_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    evidence = write_events(tmp_path / "run", numbered(good_run([ONE])))
    (tmp_path / "file").write_text("")
    done = run_report(evidence, "--output", "file/out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "plimsoll: error: output folder file/out cannot be made (Not a directory)\n"


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    evidence = write_events(tmp_path / "run", numbered(run_of_every_outcome()))
    code = f"""
import sys
from plimsoll.cli import main
status = main(["report", {str(evidence)!r}, "--no-pages"])
assert not {{"torch", "transformers", "pytest"}} & set(sys.modules)
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_pages_are_written_by_the_suite_where_it_is_there(tmp_path: Path) -> None:
    evidence = write_events(tmp_path / "run", numbered(run_of_every_outcome()))
    done = run_report(evidence, "--output", "out", cwd=tmp_path, pages=True)
    assert (done.returncode, done.stderr) == (1, "")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"results.json", "summary.md", "report.html", "junit.xml"}
    assert "REJECTED over -m tiny" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "junit.xml").read_text().count("<testcase") == 8


def test_a_page_that_cannot_be_written_is_told_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered(good_run([ONE])))
    (tmp_path / "run" / "junit.xml").mkdir()
    done = run_report("run", cwd=tmp_path, pages=True)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "ACCEPTED over -m tiny: 1 of 1 check passed"
    assert done.stderr.startswith("plimsoll: error: report.html and junit.xml could not be written (")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("evidence.jsonl", "results.json", "summary.md", "report.html", "junit.xml"),
    }


def test_pages_that_are_newer_than_the_evidence_are_left(tmp_path: Path) -> None:
    evidence = write_events(tmp_path / "run", numbered(good_run([ONE])))
    pages = [tmp_path / "run" / name for name in ("report.html", "junit.xml")]
    for page in pages:
        page.write_text("as the run left it")
    note = "report.html and junit.xml are as they were written after the run; --pages writes them again"
    done = run_report("run", cwd=tmp_path, pages=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, note)
    assert [page.read_text() for page in pages] == ["as the run left it"] * 2
    # Something was recorded since.
    later = pages[0].stat().st_mtime_ns + 10**9
    os.utime(evidence, ns=(later, later))
    done = run_report("run", cwd=tmp_path, pages=True)
    assert note not in done.stdout
    assert all("ACCEPTED" in page.read_text() for page in pages)


def test_pages_are_written_again_where_that_is_asked(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered(good_run([ONE])))
    for name in ("report.html", "junit.xml"):
        (tmp_path / "run" / name).write_text("as the run left it")
    assert run_report("run", "--pages", cwd=tmp_path, pages=True).returncode == 0
    assert "ACCEPTED over -m tiny" in (tmp_path / "run" / "report.html").read_text()


WITHOUT_PYTEST = """
import sys
from importlib.util import find_spec
import plimsoll.extras as extras
extras.find_spec = lambda name: None if name == "pytest_html" else find_spec(name)
from plimsoll.cli import main
sys.exit(main(["report", sys.argv[1]]))
"""


def test_without_the_suite_all_else_is_written_and_the_way_to_the_pages_told(tmp_path: Path) -> None:
    evidence = write_events(tmp_path / "run", numbered(good_run([ONE])))
    command = [sys.executable, "-c", WITHOUT_PYTEST, str(evidence)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == (
        "not written: writing report.html and junit.xml needs pytest-html, which is not installed; "
        f"install the extra: pip install -e '{ROOT}[suite]'"
    )
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"evidence.jsonl", "results.json", "summary.md"}


def test_several_runs_are_judged_as_one_in_a_folder_of_their_own(tmp_path: Path) -> None:
    bad = [start(run_id="b"), *good_run([ONE])[1:-1], report(ONE, "call", "failed", crash("no")), finish(1)]
    write_events(tmp_path / "a", numbered([start(run_id="a"), *good_run([ONE])[1:]]))
    write_events(tmp_path / "b", numbered(bad))
    done = run_report("a", "b", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plimsoll: error: reports of several runs belong into no run's folder: name one with --output DIR\n"
    )
    done = run_report("a", "b", "--output", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"  {ONE.id}: pass in a (on cargo), fail in b (on cargo)" in done.stdout.splitlines()
    assert json.loads((tmp_path / "out" / "results.json").read_text())["run"]["id"] == "a + b"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["evidence.jsonl"]


def test_waivers_can_be_given_afterwards(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered(SKIPPED))
    waiver = f"[[waiver]]\ncells = '*test_it*'\nwho = 'J. Rossi'\nwhy = 'OPS-7'\nuntil = {SOON}\n"
    (tmp_path / "w.toml").write_text(waiver)
    done = run_report("run", "--waivers", "w.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "ACCEPTED over -m tiny: 0 of 1 check passed, 1 waived"
    (tmp_path / "w.toml").write_text(waiver.replace("test_it", "test_that"))
    done = run_report("run", "--waivers", "w.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plimsoll: error: 1 fault in the waivers:\n  w.toml: waiver[0].cells: '*test_that*' covers no planned check; "
        "correct the pattern, or remove the waiver\n"
    )
