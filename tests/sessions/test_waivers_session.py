"""`pytest --waivers`: read before anything runs, kept in evidence, and shown by every report of the run."""

from __future__ import annotations

from pathlib import Path

from tests.support.run_events import SOON
from tests.support.subsession import pids_of_hosts, run_inside, run_suite

SELECTION = ("-m", "tiny", "-k", "tiny-llama/bf16 and (test_free or warm_load)")
WAIVER = (
    "[[waiver]]\n"
    "cells = '*::test_warm_load_time[tiny-llama/bf16]'\n"
    f"who = 'J. Rossi'\nwhy = 'OPS-7: no timing on this node'\nuntil = {SOON}\n"
)
SAID = f"waived by J. Rossi until {SOON}: OPS-7: no timing on this node"


def test_a_waived_failure_is_accepted_and_stays_a_failure_in_evidence(trained: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(WAIVER)
    outcome = run_suite(tmp_path / "reports", f"--waivers={tmp_path / 'w.toml'}", "--benchmark-disable", *SELECTION)
    assert outcome.status == 0, outcome.output
    assert outcome.verdict == "ACCEPTED"
    assert outcome.output.splitlines()[-1].endswith(": 2 of 3 checks passed, 1 waived")
    cell = outcome.cell("test_warm_load_time", "tiny-llama/bf16")
    assert (cell["outcome"], cell["waiver"]["outcome"], cell["waiver"]["who"]) == ("waived", "fail", "J. Rossi")
    assert "--benchmark-disable" in cell["reason"]
    reports = [event["report"] for event in outcome.events if event["event"] == "report"]
    assert [r["outcome"] for r in reports if r["nodeid"] == cell["id"]] == ["passed", "failed", "passed"]
    for name in ("summary.md", "report.html", "junit.xml"):
        assert SAID in (outcome.folder / name).read_text(), name
    assert 'failures="0"' in (outcome.folder / "junit.xml").read_text()

    # The waiver is in the evidence: whoever replays it needs no file, and no clock.
    again = run_suite(tmp_path / "again", f"--replay={outcome.folder}")
    assert again.status == 0, again.output
    assert (tmp_path / "again" / "results.json").read_bytes() == (outcome.folder / "results.json").read_bytes()


def test_a_waiver_that_covers_nothing_ends_the_run_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(WAIVER.replace("warm_load", "warm_laod"))
    outcome = run_suite(tmp_path / "reports", f"--waivers={tmp_path / 'w.toml'}", *SELECTION)
    assert outcome.status == 4
    assert (
        "1 fault in the waivers:\n  w.toml: waiver[0].cells: '*::test_warm_laod_time[tiny-llama/bf16]' "
        "covers no planned check; correct the pattern, or remove the waiver" in outcome.output
    )
    assert not pids_of_hosts(outcome.events)
    assert outcome.verdict == "INCOMPLETE"


def test_an_expired_waiver_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(WAIVER.replace(str(SOON), "2001-12-31"))
    outcome = run_inside(tmp_path / "reports", f"--waivers={tmp_path / 'w.toml'}", *SELECTION)
    assert outcome.status == 4
    assert "w.toml: waiver[0].until: expired: 2001-12-31 is before " in outcome.output
    assert not (tmp_path / "reports").exists()


def test_a_waiver_that_covers_nothing_ends_the_run_of_workers_too(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(WAIVER)
    selection = ("-m", "tiny", "-k", "tiny-llama/bf16 and test_free")
    outcome = run_suite(tmp_path / "reports", f"--waivers={tmp_path / 'w.toml'}", "-n", "2", *selection)
    assert outcome.status == 4, outcome.output
    fault = "w.toml: waiver[0].cells: '*::test_warm_load_time[tiny-llama/bf16]' covers no planned check"
    assert fault in outcome.output
    assert outcome.verdict == "INCOMPLETE"
