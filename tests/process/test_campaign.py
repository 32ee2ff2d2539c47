"""The reference campaign as a process: rehearsed with two stages, killed in the middle, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plimsoll.evidence.reader import read_run
from plimsoll.verdict.verdict import Word, reach_verdict
from tests.support.fork_servers import run_with_hosts
from tests.support.forked_stacks import STACKS, STACKS_ADDRESS
from tests.support.plugins.halted import HALTED_AT
from tests.support.subsession import ROOT, environment

CAMPAIGN = """\
[[stage]]
number = 1
title = "a load"
worth = "it is killed"
[[stage.step]]
id = "large"
load = "llama-3.2-1b/bf16"
rehearsal = "tiny-llama/bf16"
options = ["-p", "tests.support.plugins.halted"]
minutes = 1
worth = 20
[[stage]]
number = 2
title = "what prints"
worth = "it comes afterwards"
[[stage.step]]
id = "probe"
plimsoll = ["probe", "--json"]
minutes = 0.1
worth = 10
"""
DEADLINE = 400
"""Seconds for a start and some checks on a busy machine."""


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that rehearses a campaign of two stages in the test's folder; its run stands still once, in the
    middle."""
    monkeypatch.setenv("HALTED_FILE", str(tmp_path / "halted"))
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    folders = [f"--stages={tmp_path / 'campaign.toml'}", f"--out={tmp_path / 'out'}", f"--work={tmp_path / 'work'}"]
    return [sys.executable, str(ROOT / "benchmarks" / "gpu_campaign.py"), "--rehearse", *folders]


def run(command: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    return run_with_hosts([*command, *more], environment(), ROOT, DEADLINE)


def killed_in_the_middle(command: list[str], halted: Path) -> None:
    """Start a campaign, and kill it as a power cut would, once its run stands still in the middle. All that it has
    started is its own, though its fork servers are forked."""
    plugin = "tests.support.plugins.forked_servers"
    variables = {**environment(), STACKS_ADDRESS: str(STACKS.address), "PYTEST_PLUGINS": plugin}
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + DEADLINE
    while not halted.exists():
        assert process.poll() is None, "the campaign ended before it could be killed"
        assert time.monotonic() < end, "no check was asked"
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_campaign_that_is_killed_goes_on_where_it_was(campaign: list[str], tmp_path: Path) -> None:
    killed_in_the_middle(campaign, tmp_path / "halted")
    state = json.loads((tmp_path / "out" / "large" / "step.json").read_text())
    assert (state["attempts"], state["exit"]) == (1, None)
    listed = run(campaign, "--list").stdout
    assert [line.split("min  ")[1] for line in listed.splitlines() if "min  " in line] == ["stopped", "not run"]

    done = run(campaign)
    assert (done.returncode, done.stderr) == (0, "")
    record = read_run(tmp_path / "out" / "large", alone=True)
    assert record.faults == ()
    verdict = reach_verdict(record)
    assert (verdict.word, verdict.faults) == (Word.ACCEPTED, ())
    first, second = record.runs
    assert second.run is not None
    assert second.run.resumes is not None
    assert second.run.resumes.run_id == first.run_id
    answered = {id_ for id_, found in first.cells.items() if len(found.reports) == 3}
    assert len(answered) == HALTED_AT
    assert set(second.cells) == {cell.id for cell in record.plan} - answered, "what has a result was asked again"
    assert json.loads((tmp_path / "out" / "large" / "step.json").read_text())["attempts"] == 2
    assert record.node is not None
    assert record.node.hostname == "node"
    for name in (str(tmp_path), str(ROOT), f"Z-{os.uname().nodename}-"):
        assert name not in (tmp_path / "out" / "large" / "evidence.jsonl").read_text()
    assert json.loads((tmp_path / "out" / "probe" / "probe.json").read_text())["hostname"] == "node"
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| 1 | large | 60.0 s |" in page
    assert "| 2 | done: ACCEPTED over -k tiny-llama/bf16 --weights=synthetic: " in page
    assert "| tiny-llama/bf16 in place of llama-3.2-1b/bf16 | not measured | not measured |" in page

    again = run(campaign)
    assert again.returncode == 0
    assert "predicted" not in again.stdout, "what is done is run no more"


def test_a_step_that_takes_too_long_is_ended_and_left(campaign: list[str], tmp_path: Path) -> None:
    text = CAMPAIGN.replace("minutes = 1\n", "minutes = 0.01\n")
    (tmp_path / "campaign.toml").write_text(text)
    done = run(campaign, "--only", "1", "--budget", "40")
    assert done.returncode == 6
    assert "campaign: large: stopped: " in done.stdout
    assert "campaign: left, some 0.01 minutes: large; run the same command again\n" in done.stdout


def test_a_mark_that_is_not_there_stops_all_before_anything_starts(campaign: list[str], tmp_path: Path) -> None:
    text = CAMPAIGN.replace('rehearsal = "tiny-llama/bf16"\n', "").replace(
        'load = "llama-3.2-1b/bf16"', 'pytest = ["-m", "tiny"]\nrehearsal = ["-m", "tiny and soaked"]'
    )
    (tmp_path / "campaign.toml").write_text(text)
    done = run(campaign)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "campaign: nothing was started, for in the campaign:\n  step large: unknown mark 'soaked'"
    )
    assert not (tmp_path / "out").exists()


def test_without_a_gpu_it_says_how_to_try(campaign: list[str]) -> None:
    command = [word for word in campaign if word != "--rehearse"]
    done = run(command)
    assert done.returncode == 2
    assert done.stderr == (
        "campaign: there is no GPU to measure; --rehearse tries the campaign at small sizes on the CPU\n"
    )
