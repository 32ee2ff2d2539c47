"""`pytest --against=RUN`: the comparison at the end of a run, in real sub-sessions."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare_runs import timed_run
from tests.support.subsession import read_events, run_inside, run_suite

ASKS = ("-m", "tiny", "-k", "tiny-llama/bf16 and cold_load_time", "--load-rounds=5")
NODE_ALONE = ("acceptance/test_node.py", "-k", "test_stack")


def spoil(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run's evidence with each event changed."""
    target.mkdir(parents=True)
    events = read_events(source / "evidence.jsonl")
    for event in events:
        change(event)
    (target / "evidence.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return target


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a good run with a timed load."""
    done = run_suite(tmp_path_factory.mktemp("first"), *ASKS)
    assert done.status == 0, done.output
    return done.folder


def much_faster(event: dict[str, Any]) -> None:
    """A hundred times: on a machine that others use, loads differ by more than one would think."""
    if event["event"] == "benchmark":
        stats = event["benchmark"]["stats"]
        stats["data"] = [seconds / 100 for seconds in stats["data"]]
        stats["median"] = statistics.median(stats["data"])


def test_a_run_that_became_slower_fails_though_it_is_accepted(run: Path, tmp_path: Path) -> None:
    base = spoil(run, tmp_path / "base", much_faster)
    done = run_suite(tmp_path / "reports", *ASKS, f"--against={base}", "--fail-on=slower")
    lines = done.output.splitlines()
    assert done.status == 1
    assert done.verdict == "ACCEPTED"
    assert lines[-2].startswith("ACCEPTED over -m tiny")
    assert lines[-1].startswith("exit status 1: fails on slower: ")
    assert lines[-1].endswith(": 1 time slower")
    assert any(line.startswith("= comparison =") or " comparison " in line for line in lines)
    assert any("times: 1 slower" in line for line in lines)
    assert any(line.startswith("fails on slower: ") for line in lines)
    data = json.loads((done.folder / "comparison.json").read_text())
    assert (data["exit_status"], data["versus"][0]["times"][0]["word"]) == (1, "slower")
    assert (done.folder / "comparison.md").read_text().startswith("# Comparison")


def test_the_newest_run_is_the_one_before_this(tmp_path: Path) -> None:
    first = run_suite(tmp_path, *NODE_ALONE)
    name = first.folder.name
    second = run_suite(tmp_path, *NODE_ALONE, "--against=latest", "--fail-on=outcome,missing")
    assert (first.status, second.status) == (0, 0)
    assert second.output.splitlines()[-1].startswith("ACCEPTED over ")
    assert f"{second.folder.name} against {name}: times: none in common" in second.output
    assert second.folder.name != name


def test_what_nothing_could_be_held_against_is_said_behind_the_verdict(tmp_path: Path) -> None:
    assert run_suite(tmp_path, *NODE_ALONE).status == 0
    third = run_suite(tmp_path, *NODE_ALONE, "--against=latest", "--fail-on=memory,outcome")
    assert (third.status, third.verdict) == (6, "ACCEPTED")
    assert "\nexit status 6: undecided: " in third.output.partition("\nACCEPTED over ")[2]
    excused = run_suite(tmp_path, *NODE_ALONE, "--against=latest", "--fail-on=memory,outcome", "--allow-undecided")
    assert (excused.status, excused.output.splitlines()[-1].startswith("ACCEPTED over ")) == (0, True)


def test_words_of_a_second_fail_on_are_added_to_those_of_the_first(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": [1.0]}, memory={"a/nf4": 10**9})
    asks = (f"--against={base}", "--force-unlike", "--fail-on=missing", "--fail-on=memory")
    done = run_suite(tmp_path / "reports", *NODE_ALONE, *asks)
    assert (done.status, done.verdict) == (1, "ACCEPTED")
    assert json.loads((done.folder / "comparison.json").read_text())["fail_on"] == ["missing", "memory"]


@pytest.mark.parametrize(
    ("given", "rounds", "message"),
    [
        ((), 8, "finds nothing with fewer than 5 rounds, and no --load-rounds was given: at a noise of 5%, "),
        (("--load-rounds=4",), 8, "with fewer than 5 rounds, and --load-rounds=4 was given: at a noise of 5%, "),
        (("--load-rounds=8",), 3, "--fail-on=slower finds nothing against base, which has 3 rounds of a time: "),
    ],
)
def test_too_few_rounds_to_find_anything_are_refused_with_the_number_that_can(
    tmp_path: Path, given: tuple[str, ...], rounds: int, message: str
) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": [1.0 + i / 100 for i in range(rounds)]})
    done = run_inside(
        tmp_path / "reports", *NODE_ALONE, f"--against={base}", "--force-unlike", "--fail-on=slower", *given
    )
    assert done.status == 4, done.output
    assert message in done.output
    assert "5 rounds find a doubled time and 32 one that is 10% longer" in done.output
    assert not (tmp_path / "reports").exists()


def test_what_cannot_be_compared_is_said_before_anything_runs(tmp_path: Path) -> None:
    unlike = timed_run(tmp_path, "unlike", {"a/nf4": [1.0]})
    for arguments, message in (
        (
            [f"--against={unlike}"],
            "--against: unlike is not from a like machine: unlike has 1 x NVIDIA H200 with 140 GiB",
        ),
        ([f"--against={tmp_path / 'none'}"], "no run "),
        (["--against=baseline:none"], "no baseline 'none'"),
        (["--fail-on=slower"], "--fail-on, --allow-undecided and --force-unlike need --against=RUN"),
        ([f"--against={unlike}", "--fail-on=slow"], "--fail-on knows no 'slow'"),
    ):
        done = run_inside(tmp_path / "reports", *NODE_ALONE, *arguments)
        assert done.status == 4, done.output
        assert message in done.output
        assert not (tmp_path / "reports").exists()


def test_a_session_that_records_nothing_is_not_compared_and_not_green(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": [1.0]})
    asks = ("tests/process/test_cli.py", "-k", "version", f"--against={base}", "--force-unlike")
    done = run_suite(tmp_path / "reports", *asks)
    assert done.status == 2
    assert "not compared: this session recorded no run" in done.output
