"""Whole sessions on stand-in GPUs: each GPU is asked, workers collect what their controller plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.node.devices import Device, Devices
from plimsoll.plan.cells import Selection, make_plan
from tests.support.driver import build_driver
from tests.support.subsession import ROOT, pytest_says, run_suite

EIGHT = Devices(
    gpus=tuple(Device(id=f"gpu{n}", kind="cuda", index=n, uuid=f"GPU-stand-in-{n}") for n in range(8)),
)


@pytest.fixture
def eight(tmp_path: Path) -> dict[str, str]:
    return build_driver(tmp_path, "GPUS=8")


def test_the_made_plan_and_pytests_collection_ask_every_gpu(eight: dict[str, str]) -> None:
    selection = Selection(mark="gpu8b and (node or golden)", base=ROOT)
    catalogue = read_catalogue([], known_marks=read_marks(ROOT / "markers.ini"))
    made = [cell.id for cell in make_plan(ROOT, catalogue, selection, EIGHT).cells]
    output = pytest_says("--collect-only", "-q", "-m", selection.mark, env=eight).stdout
    assert made == [line for line in output.splitlines() if line.startswith("acceptance/")]
    for number in range(8):
        assert f"acceptance/test_golden.py::test_golden_logits[gpu{number}-llama/nf4]" in made


def test_workers_ask_what_their_controller_saw(eight: dict[str, str], tmp_path: Path) -> None:
    """Every GPU is planned and asked, and what cannot be asked there is a gap with a reason of its own."""
    asked = ("-m", "gpu8b and golden and llama and fp32", "-n", "2")
    outcome = run_suite(tmp_path, *asked, env=eight | {"CUDA_VISIBLE_DEVICES": "GPU-stand-in-6,5"})
    assert {cell["id"].rpartition("[")[2] for cell in outcome.results["cells"]} == {
        "gpu6-llama/fp32]",
        "gpu5-llama/fp32]",
    }
    assert outcome.verdict == "INCOMPLETE", outcome.output
    # torch of the CPU is what keeps these hosts from a GPU here; the GPU itself was found, by its own UUID.
    assert {cell["code"] for cell in outcome.results["cells"]} == {"package"}
