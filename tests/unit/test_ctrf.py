"""ctrf.json: every check has a status that promises no more than its outcome."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.commands import plimsoll
from tests.support.run_events import RUN_ID, numbered, run_of_every_outcome, write_events


def test_each_outcome_has_a_status_and_no_gap_is_passed(tmp_path: Path) -> None:
    write_events(tmp_path / RUN_ID, numbered(run_of_every_outcome()))
    done = plimsoll("report", tmp_path / RUN_ID, "--ctrf", "--no-pages")
    assert done.returncode == 1
    text = (tmp_path / RUN_ID / "ctrf.json").read_text()
    report = json.loads(text)
    assert (report["reportFormat"], report["results"]["tool"]["name"]) == ("CTRF", "plimsoll")
    tests = {test["name"]: test for test in report["results"]["tests"]}
    assert {name.partition("[")[0]: (test["status"], test["rawStatus"]) for name, test in tests.items()} == {
        "test_node": ("passed", "pass"),
        "test_near": ("passed", "marginal"),
        "test_slow": ("failed", "fail"),
        "test_talks": ("failed", "fail"),
        "test_a": ("skipped", "skip"),
        "test_b": ("skipped", "skip"),
        "test_lost": ("pending", "not_run"),
    }
    summary = report["results"]["summary"]
    counts = [summary[key] for key in ("tests", "passed", "failed", "skipped", "pending", "other")]
    assert counts == [7, 2, 2, 2, 1, 0]
    assert (summary["extra"]["verdict"], summary["extra"]["exit_status"]) == ("REJECTED", 1)
    assert "has 24 GB, needs 43 GB" in tests["test_a[tiny-mixtral/nf4-dq]"]["message"]
    plimsoll("report", tmp_path / RUN_ID, "--ctrf", "--no-pages")
    assert (tmp_path / RUN_ID / "ctrf.json").read_text() == text


def test_without_being_asked_for_it_is_not_written(tmp_path: Path) -> None:
    write_events(tmp_path / RUN_ID, numbered(run_of_every_outcome()))
    plimsoll("report", tmp_path / RUN_ID, "--no-pages")
    assert not (tmp_path / RUN_ID / "ctrf.json").exists()
