"""Whole sessions on stand-in GPUs: each GPU is asked, workers collect what their controller plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.node.devices import Device, Devices
from plimsoll.plan.cells import Selection, make_plan
from tests.support.driver import build_driver
from tests.support.subsession import ROOT, pytest_apart, run_suite

EIGHT = Devices(
    gpus=tuple(Device(id=f"gpu{n}", kind="cuda", index=n, uuid=f"GPU-stand-in-{n}") for n in range(8)),
)


@pytest.fixture
def eight(tmp_path: Path) -> dict[str, str]:
    return build_driver(tmp_path, "count = 8")


def test_the_made_plan_and_pytests_collection_ask_every_gpu(eight: dict[str, str]) -> None:
    selection = Selection(mark="gpu8b and golden", base=ROOT)
    catalogue = read_catalogue([], known_marks=read_marks(ROOT / "markers.ini"))
    made = [cell.id for cell in make_plan(ROOT, catalogue, selection, EIGHT).cells]
    output = pytest_apart("--collect-only", "-q", "-m", selection.mark, env=eight).stdout
    assert made == [line for line in output.splitlines() if line.startswith("acceptance/")]
    for number in range(8):
        assert f"acceptance/test_golden.py::test_golden_logits[gpu{number}-llama/nf4]" in made


def test_workers_are_as_many_as_gpus_and_ask_what_one_process_does(tmp_path: Path) -> None:
    """Three GPUs, of which a session sees them all: the same checks on the same GPUs under the same verdict. torch of
    the CPU is what keeps these hosts from a GPU here; each GPU was found all the same, by its own UUID."""
    env = build_driver(tmp_path, "count = 3", "gpu.2.serial = 1650000000002")
    asked = ("-m", "gpu1b", "-k", "process_is_gone or (golden and llama and fp32)")
    alone = run_suite(tmp_path / "alone", *asked, env=env, timeout=600)
    shared = run_suite(tmp_path / "shared", *asked, "-n", "auto", env=env, timeout=600)
    started = [event["worker"] for event in shared.events if event["event"] == "node"]
    assert sorted(started) == ["gw0", "gw1", "gw2"]
    cells = [
        sorted((cell["id"], cell["gpu"], cell["outcome"], cell["code"]) for cell in outcome.results["cells"])
        for outcome in (alone, shared)
    ]
    assert cells[0] == cells[1]
    assert {gpu for _, gpu, _, _ in cells[0]} == {"gpu0", "gpu1", "gpu2"}
    assert {(outcome, code) for _, _, outcome, code in cells[0]} == {("skip", "package")}
    for outcome in (alone, shared):
        assert (outcome.verdict, outcome.status) == ("INCOMPLETE", 6), outcome.output
        assert outcome.results["verdict"]["scope"].endswith(" on 3 of 3 GPUs")
        assert [gpu["uuid"] for gpu in outcome.results["gpus"]] == [f"GPU-stand-in-{n}" for n in range(3)]
    copy = next(cell for cell in shared.results["cells"] if cell["variant"] and cell["gpu"] == "gpu2")
    assert copy["id"].endswith(f"[{copy['variant']}]")
    assert copy["variant"].endswith(":gpu2")
    assert [gpu["serial"] for gpu in copy["gpus"]] == ["1650000000002"]


def test_gpus_that_are_left_out_stand_in_the_scope(eight: dict[str, str], tmp_path: Path) -> None:
    asked = ("-m", "gpu8b and golden and llama and fp32", "--gpus=GPU-stand-in-3,6")
    outcome = run_suite(tmp_path, *asked, env=eight | {"CUDA_VISIBLE_DEVICES": "6,5,3,2"})
    assert {cell["gpu"] for cell in outcome.results["cells"]} == {"gpu3", "gpu6"}
    verdict = outcome.results["verdict"]
    assert verdict["scope"].endswith("--gpus=GPU-stand-in-3,6 on 2 of 8 GPUs: gpu3, gpu6")
    out = ", ".join(f"gpu{n} (NVIDIA H200, GPU-stand-in-{n})" for n in (2, 5))
    assert f"left out by --gpus, and so not in this scope: {out}" in verdict["notes"]


def test_a_gpu_that_is_none_is_refused_before_anything_runs(eight: dict[str, str], tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "gpu8b", "--gpus=11", env=eight)
    assert outcome.status == 4
    assert "--gpus: 11 names no GPU that this session may use; known: gpu0 or GPU-stand-in-0" in outcome.output
    assert "Traceback" not in outcome.output


def test_a_gpu_is_refused_where_there_is_none(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "tiny", "--gpus=0", env={"CUDA_VISIBLE_DEVICES": ""})
    assert outcome.status == 4
    assert "--gpus: 0 names no GPU that this session may use; known: none (" in outcome.output


def test_a_node_whose_driver_does_not_answer_leaves_evidence_whatever_gpus_are_named(tmp_path: Path) -> None:
    env = build_driver(tmp_path / "driver", "init = !9")
    outcome = run_suite(tmp_path / "reports", "-m", "tiny", "-k", "tiny-llama", "--device=cuda", "--gpus=0,1", env=env)
    assert (outcome.verdict, outcome.status) == ("INCOMPLETE", 6), outcome.output
    assert "NVML" in outcome.output


def test_where_there_is_no_gpu_the_tiny_checkpoints_say_so_once(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "tiny", "--device=cuda", env={"CUDA_VISIBLE_DEVICES": ""})
    assert (outcome.verdict, outcome.status) == ("INCOMPLETE", 6), outcome.output
    (gap,) = outcome.results["verdict"]["gaps"]
    assert gap["outcome"] == "not_run"
    assert gap["reasons"][0].startswith("no GPU to use: ")
    assert gap["fix"]
    assert len(gap["cells"]) == outcome.results["verdict"]["planned"] > 700
    assert any(cell.endswith("[tiny-mixtral/nf4-dq:cuda]") for cell in gap["cells"])
    assert "acceptance/test_" not in outcome.output, "no line a file of skips"


def test_the_tiny_checkpoints_are_all_on_every_gpu(eight: dict[str, str]) -> None:
    output = pytest_apart(
        "--collect-only", "-q", "-m", "tiny and unload", "--device=cuda", "--gpus=0,5", env=eight
    ).stdout
    copies = {line.partition("[")[2].rstrip("]") for line in output.splitlines() if "test_process_is_gone[" in line}
    names = {copy.rpartition(":")[0] for copy in copies}
    assert len(names) == 22
    assert copies == {f"{name}:gpu{n}" for name in names for n in (0, 5)}
