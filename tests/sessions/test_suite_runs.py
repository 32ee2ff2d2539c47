"""A whole run: with workers and without it comes to the same, and the controller stays clear of torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from plimsoll.node.processor import usable_cores
from tests.support.subsession import Outcome, pids_of_hosts, run_suite

SELECTION = ("-m", "tiny", "-k", "tiny-llama/bf16 or tiny-qwen/nf4-dq or tiny-llama/fp32")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guard")


@pytest.fixture(scope="module")
def alone(trained: dict[str, Path], guarded: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    env = {"TORCH_GUARD": str(guarded)}
    return run_suite(
        tmp_path_factory.mktemp("alone"),
        *SELECTION,
        "-p",
        "tests.support.plugins.torch_guard",
        "--load-rounds=2",
        env=env,
    )


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("threads") / "told"


@pytest.fixture(scope="module")
def shared(trained: dict[str, Path], threads: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_suite(
        tmp_path_factory.mktemp("shared"),
        *SELECTION,
        "-n",
        "2",
        "--load-rounds=2",
        "-p",
        "tests.support.plugins.host_threads",
        # As many threads as there are cores, which only the suite's own sharing makes fewer.
        env={"HOST_THREADS": str(threads), "OMP_NUM_THREADS": str(usable_cores())},
    )


def test_sound_variants_are_accepted(alone: Outcome, shared: Outcome) -> None:
    for outcome in (alone, shared):
        assert outcome.verdict == "ACCEPTED", outcome.output
        assert outcome.status == 0
        assert outcome.output.rstrip().splitlines()[-1].startswith("ACCEPTED over -m tiny -k")


def test_hosts_of_two_workers_share_the_cores(shared: Outcome, threads: Path) -> None:
    told = [line.split() for line in threads.read_text().splitlines()]
    assert {worker for worker, _ in told} == {"gw0", "gw1"}
    assert {int(count) for _, count in told} == {max(1, usable_cores() // 2)}
    assert len(told) == len(pids_of_hosts(shared.events))


def test_workers_are_as_many_as_the_cores_that_may_be_used(tmp_path: Path) -> None:
    """One, whatever the machine has, of which xdist would count all."""
    asked = ("-m", "node", "-k", "stack", "acceptance/test_node.py", "-n", "auto")
    outcome = run_suite(tmp_path, *asked, "-p", "tests.support.plugins.one_core")
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    assert {event["worker"] for event in outcome.events if event["event"] == "node"} == {"gw0"}


def test_workers_answer_the_same_cells(alone: Outcome, shared: Outcome) -> None:
    def cells(outcome: Outcome) -> dict[str, list[str]]:
        return {c["id"]: [j["metric"] for j in c["judgements"]] for c in outcome.results["cells"]}

    assert cells(alone) == cells(shared)
    assert len(cells(alone)) > 60


def load_times(outcome: Outcome) -> list[dict[str, Any]]:
    """The rows of benchmark.json that are times of loading; there are also those of speeds."""
    rows = json.loads((outcome.folder / "benchmark.json").read_text())["benchmarks"]
    return [row for row in rows if "_load_time[" in row["fullname"]]


def test_workers_record_the_same_load_times(alone: Outcome, shared: Outcome) -> None:
    def rows(outcome: Outcome) -> dict[str, tuple[int, str]]:
        return {row["fullname"]: (row["stats"]["rounds"], row["extra_info"]["cache"]) for row in load_times(outcome)}

    assert rows(alone) == rows(shared)
    assert set(rows(alone).values()) == {(2, "cold"), (2, "warm")}


def test_a_model_stays_on_one_worker(shared: Outcome) -> None:
    workers = defaultdict(set)
    for event in shared.events:
        if event["event"] == "load":
            workers[event["variant"].partition("/")[0]].add(event["worker"])
    assert set(workers) == {"tiny-llama", "tiny-qwen"}
    assert all(len(names) == 1 for names in workers.values())
    assert len(set.union(*workers.values())) == 2, "one worker did all the work, so nothing was shown"


def test_cold_and_warm_rounds_are_what_they_are_called(alone: Outcome) -> None:
    for row in load_times(alone):
        info = row["extra_info"]
        assert info["bytes"] > 0
        assert info["variant"] in row["fullname"]
        assert row["stats"]["data"] == pytest.approx(info["seconds"])
        for resident in info["resident"]:
            assert resident <= 0.05 if info["cache"] == "cold" else resident >= 0.95


def test_pytest_benchmark_reads_the_file(alone: Outcome) -> None:
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(alone.folder / "benchmark.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=alone.folder)
    assert done.returncode == 0, done.stderr
    assert "test_cold_load_time[tiny-llama/bf16]" in done.stdout


def test_controller_never_imports_torch(alone: Outcome, guarded: Path) -> None:
    assert alone.status == 0
    assert (guarded / "main").read_text() == ""


def test_every_report_is_there_and_latest_points_to_it(alone: Outcome) -> None:
    wanted = {"evidence.jsonl", "results.json", "summary.md", "junit.xml", "benchmark.json", "report.html"}
    assert wanted <= {path.name for path in alone.folder.iterdir()}
    page = (alone.folder / "report.html").read_text()
    assert "ACCEPTED over -m tiny" in page
    assert "http-equiv" not in page
    assert "<link" not in page


def test_plain_lines_where_there_is_no_terminal(alone: Outcome) -> None:
    assert "\r" not in alone.output
    assert "\x1b" not in alone.output


def test_a_figure_that_is_never_judged_is_a_failure(trained: dict[str, Path], tmp_path: Path) -> None:
    selection = ("-m", "tiny", "-k", "tiny-llama/bf16 and (load or memory)")
    outcome = run_suite(tmp_path, *selection, "-p", "tests.support.plugins.forgetful_judge")
    assert outcome.verdict == "REJECTED"
    cell = outcome.cell("test_cold_load_time", "tiny-llama/bf16")
    assert cell["outcome"] == "fail"
    assert "not measured: cold_load_time" in cell["reason"]
