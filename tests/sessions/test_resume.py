"""`--resume`: a run that was cut short is finished on the same node and stack under one verdict, or it is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plimsoll.evidence.chain import START, sealed
from plimsoll.evidence.sameness import RunBasis
from plimsoll.node.node import Node
from plimsoll.tiny.checkpoint import MANIFEST
from tests.support.run_events import NODE, RUN_ID, Line, cell, good_run, numbered, start, write_events
from tests.support.subsession import Outcome, pytest_says, read_events, run_suite

SELECTION = ("-m", "tiny", "-k", "tiny-llama/bf16 and (test_free or test_loads or test_unload)")


# What is refused, before anything is loaded.

ONE = cell("test_one")


@pytest.mark.parametrize(
    ("events", "messages"),
    [
        (
            good_run([ONE]),
            [
                f"cannot resume {RUN_ID}: this is not the node and stack that it ran on:",
                "  host name: cargo there, ",
                "  GPUs: GPU-1 there, ",
                "  driver: 570.1 there, ",
                "results of different settings stand under no common verdict; run everything again, without --resume",
            ],
        ),
        (
            good_run([ONE])[:2],
            [f"cannot resume {RUN_ID}: the node was not recorded: nobody knows what the figures belong to."],
        ),
        (
            good_run([ONE])[1:],
            ["cannot resume run: the first line of the evidence is missing: nobody knows what was asked for"],
        ),
        ([start(run_id="../../x"), *good_run([ONE])[1:]], ["cannot resume '../../x': that is no id of a run"]),
    ],
    ids=["other node", "no node", "no head", "hostile id"],
)
def test_what_cannot_stand_under_one_verdict_is_refused(
    tmp_path: Path, events: list[Line], messages: list[str]
) -> None:
    write_events(tmp_path / "run", numbered(events))
    done = pytest_says(f"--resume={tmp_path / 'run'}", f"--report-dir={tmp_path / 'reports'}")
    assert done.returncode == 4
    for message in messages:
        assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "reports").exists()


def test_damage_that_a_kill_does_not_explain_is_refused(tmp_path: Path) -> None:
    path = write_events(tmp_path / "run", numbered(good_run([ONE])))
    path.write_bytes(path.read_bytes().replace(b'"event": "node"', b'"event": "noun"'))
    done = pytest_says(f"--resume={tmp_path / 'run'}")
    assert done.returncode == 4
    assert "A run that resumes it could never be accepted; run everything again, without --resume" in done.stdout


def test_no_such_run_is_one_message(tmp_path: Path) -> None:
    done = pytest_says("--resume=nowhere", f"--report-dir={tmp_path}")
    assert done.returncode == 4
    assert f"no run 'nowhere': it is neither a folder nor an evidence file, and {tmp_path} holds no runs" in done.stdout


CATALOGUES: tuple[dict[str, object], ...] = ({"path": "a.toml", "sha256": "1"}, {"path": "b.toml", "sha256": "2"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hostname": "barge"}, "host name: cargo there, barge here"),
        ({"gpus": []}, "GPUs: GPU-1 there, nothing here"),
        ({"gpus": [{**NODE.to_json()["gpus"][0], "uuid": "GPU-2"}]}, "GPUs: GPU-1 there, GPU-2 here"),
        (
            {"gpus": [{**NODE.to_json()["gpus"][0], "uuid": None}]},
            "GPUs: GPU-1 there, NVIDIA H200 123 here",
        ),
        ({"driver": "580.1"}, "driver: 570.1 there, 580.1 here"),
        ({"cuda": None}, "CUDA: 13.0 there, nothing here"),
        ({"kernel": "6.2"}, "kernel: 6.1.0 there, 6.2 here"),
        ({"python": "3.12.1"}, "Python: 3.11.7 there, 3.12.1 here"),
        ({"packages": {"torch": "2.14.0", "bitsandbytes": None}}, "torch: 2.13.0 there, 2.14.0 here"),
        ({"packages": {"torch": "2.13.0", "bitsandbytes": "1"}}, "bitsandbytes: nothing there, 1 here"),
    ],
)
def test_whatever_figures_depend_on_is_compared(change: dict[str, Any], said: str) -> None:
    then = RunBasis.of(NODE, plimsoll="0.1.0", catalogues=CATALOGUES)
    now = RunBasis.of(Node.from_json({**NODE.to_json(), **change}), plimsoll="0.1.0", catalogues=CATALOGUES)
    assert [str(difference) for difference in then.differences(now)] == [said]


def test_the_version_and_the_catalogue_are_compared_and_paths_are_not() -> None:
    then = RunBasis.of(NODE, plimsoll="0.1.0", catalogues=CATALOGUES)
    moved = RunBasis.of(NODE, plimsoll="0.1.0", catalogues=tuple({**file, "path": f"/x/{file}"} for file in CATALOGUES))
    assert then.differences(moved) == ()
    now = RunBasis.of(NODE, plimsoll="0.2.0", catalogues=(CATALOGUES[0], {"path": "b.toml", "sha256": "3"}))
    assert [str(difference) for difference in then.differences(now)] == [
        "plimsoll: 0.1.0 there, 0.2.0 here",
        "catalogue file: b.toml there, nothing here",
        "catalogue file: nothing there, b.toml here",
    ]


# Going on, with real sub-sessions.


@pytest.fixture(scope="module")
def whole(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run of a few questions to one variant, to be cut short in several ways."""
    outcome = run_suite(tmp_path_factory.mktemp("whole"), *SELECTION)
    assert outcome.verdict == "ACCEPTED", outcome.output
    return outcome


def cut(whole: Outcome, reports: Path, reported: int, spoil: Callable[[list[str]], list[str]] = list) -> Path:
    """The run as a kill would have left it after some cells, the next line half-written."""
    lines = spoil((whole.folder / "evidence.jsonl").read_text().splitlines(keepends=True))
    ends = [n for n, text in enumerate(lines) if '"event":"report"' in text and '"when":"teardown"' in text]
    kept = lines[: ends[reported - 1] + 1]
    folder = reports / whole.folder.name
    folder.mkdir(parents=True)
    (folder / "evidence.jsonl").write_text("".join(kept) + lines[ends[reported - 1] + 1][:40])
    return folder


def cells_run(folder: Path) -> set[str]:
    return {e["cell"] for e in read_events(folder / "evidence.jsonl") if e["event"] == "report"}


def test_only_what_has_no_result_is_run_and_the_verdict_is_over_all(whole: Outcome, tmp_path: Path) -> None:
    first = cut(whole, tmp_path, 3)
    outcome = run_suite(tmp_path, f"--resume={first.name}")
    planned = {c["id"] for c in whole.results["cells"]}
    assert outcome.status == 0, outcome.output
    assert f"plimsoll: resuming {first.name}, where 3 of {len(planned)} checks have a result" in outcome.output
    assert outcome.output.splitlines()[-1] == whole.output.splitlines()[-1]
    assert outcome.verdict == "ACCEPTED"
    assert cells_run(outcome.folder) == planned - cells_run(first)
    assert {c["id"]: c["outcome"] for c in outcome.results["cells"]} == {
        c["id"]: c["outcome"] for c in whole.results["cells"]
    }

    head = outcome.events[0]
    content = (first / "evidence.jsonl").read_bytes()
    assert head["resumes"] == {"run_id": first.name, "sha256": hashlib.sha256(content).hexdigest()}
    assert (outcome.folder / "resumed" / f"{first.name}.jsonl").read_bytes() == content
    assert head["selection"] == whole.events[0]["selection"]
    assert outcome.results["run"]["id"] == f"{first.name} + {outcome.folder.name}"
    assert (outcome.folder / "junit.xml").read_text().count("<testcase") == len(planned)

    # Nothing is left to do, also for two workers, and the new folder stands by itself.
    second = outcome.folder.name
    first.rename(tmp_path / "gone")
    done = run_suite(tmp_path, "--resume=latest", "-n", "2")
    assert done.status == 0, done.output
    assert done.verdict == "ACCEPTED"
    assert cells_run(done.folder) == set()
    assert [part["run"]["resumes"] for part in done.results["parts"]] == [
        None,
        first.name,
        second,
    ]


def failing(lines: list[str]) -> list[str]:
    """As if the first cell had failed."""
    spoilt = []
    for text in lines:
        event = json.loads(text)
        if event["event"] == "report" and "test_free_ram" in event["cell"] and event["report"]["when"] == "call":
            event["report"] |= {"outcome": "failed", "longrepr": "its host died"}
        spoilt.append(json.dumps(event) + "\n")
    return [text.replace('"event": ', '"event":').replace('"when": ', '"when":') for text in spoilt]


def test_a_failure_is_a_result_and_workers_leave_out_what_is_done_too(whole: Outcome, tmp_path: Path) -> None:
    first = cut(whole, tmp_path, 3, failing)
    outcome = run_suite(tmp_path, f"--resume={first}", "-n", "2")
    assert outcome.status == 1
    assert outcome.verdict == "REJECTED"
    assert cells_run(outcome.folder) == {c["id"] for c in whole.results["cells"]} - cells_run(first)
    assert [c["outcome"] for c in outcome.results["cells"]].count("pass") == len(whole.results["cells"]) - 1
    assert outcome.cell("test_free_ram", "tiny-llama/bf16")["reason"] == "its host died"
    assert outcome.results["verdict"]["faults"] == []


def test_other_weights_are_refused_and_the_same_go_on(trained: dict[str, Path], tmp_path: Path) -> None:
    """It was ACCEPTED: half of the checks had asked one model, and the others another."""
    folder = tmp_path / "mine"
    shutil.copytree(trained["tiny-llama"], folder)
    (folder / MANIFEST).unlink()  # which would vouch for the files
    asked = ("-m", "tiny", "-k", "tiny-llama/bf16 and (test_loads or test_unload)", f"--model-dir=tiny-llama={folder}")
    whole = run_suite(tmp_path / "whole", *asked)
    assert whole.verdict == "ACCEPTED", whole.output
    first = cut(whole, tmp_path / "cut", 1)

    weights = min(folder.glob("*.safetensors"))
    content, before = weights.read_bytes(), weights.stat()
    weights.write_bytes(content[:-1000] + bytes(1000))
    refused = pytest_says(f"--resume={first}", f"--report-dir={tmp_path / 'none'}")
    assert refused.returncode == 4
    assert (
        f"cannot resume {first.name}: tiny-llama is not loaded from the weights that it had there: {weights} is "
        "another file, or was changed"
    ) in refused.stdout
    assert refused.stdout.rstrip().endswith("run everything again, without --resume")
    assert not (tmp_path / "none").exists()

    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    outcome = run_suite(tmp_path / "again", f"--resume={first}")
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output


def synthetic(lines: list[str]) -> list[str]:
    changed = [json.loads(text.replace('"weights":"trained"', '"weights":"synthetic"')) for text in lines]
    last: dict[str, str] = {}
    anew = []
    for event in changed:
        fields = {name: value for name, value in event.items() if name not in ("after", "sum")}
        content, last[event["worker"]] = sealed(fields, last.get(event["worker"], START))
        anew.append(content.decode())
    return anew


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_cell_that_means_something_else_is_refused(whole: Outcome, tmp_path: Path, workers: tuple[str, ...]) -> None:
    first = cut(whole, tmp_path, 3, synthetic)
    outcome = run_suite(tmp_path, f"--resume={first}", *workers)
    assert outcome.status not in (0, 5), outcome.output
    assert "is not planned as it was; give the same options again: pytest" in outcome.output
    assert "ACCEPTED" not in outcome.output
