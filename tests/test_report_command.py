"""`plimsoll report`: the reports of a run again, from its evidence alone, with the verdict as exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run_events import (
    RUN_ID,
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

ROOT = Path(__file__).parents[1]


def run_report(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll", "report", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


ONE = cell("test_it")
SKIPPED = [start(), plan([ONE]), good_run([])[2], report(ONE, "setup", "skipped", ["x", 1, "Skipped: no"]), finish()]


@pytest.mark.parametrize(
    ("events", "status", "last"),
    [
        (good_run([ONE]), 0, "ACCEPTED over -m tiny: 1 of 1 cell passed"),
        (
            [*good_run([ONE])[:-1], report(ONE, "call", "failed", crash("no")), finish(1)],
            1,
            "REJECTED over -m tiny: 0 of 1 cell passed, 1 failed",
        ),
        (SKIPPED, 6, "INCOMPLETE over -m tiny: 0 of 1 cell passed, 1 skipped"),
        (
            [start(allow_incomplete=True), *SKIPPED[1:]],
            0,
            "INCOMPLETE over -m tiny: 0 of 1 cell passed, 1 skipped",
        ),
        ([start(), plan([]), good_run([])[2], finish(5)], 5, "INCOMPLETE over -m tiny: nothing was planned"),
    ],
)
def test_the_exit_status_is_the_verdicts(tmp_path: Path, events: list[Line], status: int, last: str) -> None:
    write_events(tmp_path / "reports" / RUN_ID, numbered(events))
    (tmp_path / "reports" / "latest").symlink_to(RUN_ID)
    done = run_report("latest", cwd=tmp_path)
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
from tests.run_events import cell, good_run
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
        f"INCOMPLETE over -m tiny: 1 of 2 cells passed, 1 not run; {fault} (and 1 more fault)"
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
    assert done.stdout.splitlines()[-1] == "ACCEPTED over -m tiny: 1 of 1 cell passed"
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
status = main(["report", {str(evidence)!r}])
assert not {{"torch", "transformers", "pytest"}} & set(sys.modules)
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
