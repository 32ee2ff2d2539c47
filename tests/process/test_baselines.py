"""Baselines: kept under their machine and driver, found again by as much of the name as tells them apart."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from plimsoll.compare.baselines import save_baseline
from plimsoll.compare.finding import read_side
from plimsoll.evidence.reader import read_run
from tests.support.commands import plimsoll
from tests.support.compare_runs import timed_events, timed_run, write_run

ROUNDS = [1.0, 1.1, 1.2, 1.3, 1.4]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return plimsoll("baseline", *arguments)


def test_the_runs_that_a_run_resumes_are_kept_with_it(tmp_path: Path) -> None:
    run = timed_run(tmp_path, "r2", {"a/nf4": ROUNDS})
    earlier = timed_run(tmp_path, "r1", {"b/nf4": ROUNDS})
    (run / "resumed").mkdir()
    (earlier / "evidence.jsonl").rename(run / "resumed" / "r1.jsonl")
    saved = save_baseline(run, tmp_path, name=None, replace=False)
    assert [part.run_id for part in read_run(saved.folder).parts] == [part.run_id for part in read_run(run).parts]
    assert len(read_side(saved.folder).timed) == 2


def test_save_list_and_show_on_the_command_line(tmp_path: Path) -> None:
    timed_run(tmp_path, "r1", {"a/nf4": ROUNDS})
    where = f"--report-dir={tmp_path}"
    nothing = run("list", where)
    assert nothing.stdout == f"no baselines in {tmp_path / 'baselines'}; keep one with `plimsoll baseline save RUN`\n"
    saved = run("save", "r1", "--name", "v1", where)
    assert (saved.returncode, saved.stderr) == (0, "")
    assert saved.stdout.endswith("compare with it as baseline:nvidia-h200/570.1/v1\n")
    assert run("list", where).stdout == "nvidia-h200/570.1/v1  ACCEPTED over -m tiny: 1 of 1 check passed\n"
    listed = json.loads(run("list", "--json", where).stdout)
    assert [(row["name"], row["verdict"]) for row in listed] == [("nvidia-h200/570.1/v1", "ACCEPTED")]
    shown = run("show", "v1", where).stdout
    assert shown.startswith("ACCEPTED over -m tiny")
    assert "GPU 0: NVIDIA H200" in shown
    missing = run("show", "v9", where)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("plimsoll: error: no baseline 'v9'")


def test_saving_a_run_that_was_not_accepted_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "r1", timed_events({"a/nf4": ROUNDS})[:-1])
    saved = run("save", "r1", "--name", "v1", f"--report-dir={tmp_path}")
    assert saved.returncode == 0
    assert "note: INCOMPLETE over -m tiny" in saved.stdout
