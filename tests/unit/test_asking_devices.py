"""Checks of devices in the made plan, and which variants a selection has dealt."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.node.devices import NO_GPUS, Device, Devices
from plimsoll.plan.asking import pairings
from plimsoll.plan.cells import PlannedCell, Selection, make_plan
from plimsoll.plan.placing import candidates, placed

ROOT = Path(__file__).parents[2]
FOUR = Devices(gpus=tuple(Device(id=f"gpu{n}", kind="cuda", index=n, uuid=f"GPU-{n}") for n in range(4)))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue()


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with two checks of devices, of which one is for GPUs alone."""
    folder = tmp_path / "acceptance"
    folder.mkdir()
    (folder / "test_speed.py").write_text(
        "import pytest\npytestmark = pytest.mark.node\n"
        "def test_matmul(device): pass\n"
        "@pytest.mark.only('gpu')\ndef test_bandwidth(device): pass\n"
    )
    return tmp_path


def cells(suite: Path, catalogue: Catalogue, devices: Devices, mark: str, keyword: str = "") -> list[PlannedCell]:
    return list(make_plan(suite, catalogue, Selection(mark=mark, keyword=keyword, base=suite), devices).cells)


def names(found: list[PlannedCell]) -> list[str]:
    return [cell.id.rpartition("::")[2] for cell in found]


def test_a_check_of_devices_is_asked_of_each_that_the_selected_tiers_need(suite: Path, catalogue: Catalogue) -> None:
    every = [f"{test}[gpu{n}]" for test in ("test_matmul", "test_bandwidth") for n in range(4)]
    assert names(cells(suite, catalogue, FOUR, "gpu8b")) == every
    assert names(cells(suite, catalogue, FOUR, "tiny")) == ["test_matmul[cpu]"]
    assert names(cells(suite, catalogue, FOUR, "tiny or gpu8b")) == ["test_matmul[cpu]", *every]
    assert names(cells(suite, catalogue, FOUR, "gpu8b", "[gpu3")) == ["test_matmul[gpu3]", "test_bandwidth[gpu3]"]


def test_the_evidence_says_which_gpu_a_check_is_of(suite: Path, catalogue: Catalogue) -> None:
    told = [cell.to_json()["gpu"] for cell in cells(suite, catalogue, FOUR, "tiny or gpu8b", "matmul")]
    assert told == [None, "gpu0", "gpu1", "gpu2", "gpu3"]
    there = {"llama-3.1-8b/nf4-dq": ((FOUR.gpus[1], FOUR.gpus[2]),)}
    both = make_plan(ROOT, placed(catalogue, there), Selection(keyword="gpu1+gpu2", base=ROOT), FOUR).cells
    assert {cell.to_json()["gpu"] for cell in both} == {"gpu1+gpu2"}


def test_where_there_is_no_gpu_one_is_planned_for_the_gate_to_refuse(suite: Path, catalogue: Catalogue) -> None:
    (first, _) = cells(suite, catalogue, NO_GPUS, "gpu8b")
    assert first.id.endswith("test_matmul[gpu0]")
    assert first.to_json()["gpu"] is None


@pytest.mark.parametrize(
    ("mark", "keyword", "wanted"),
    [
        ("", "llama-3.1-8b/nf4-dq", {"llama-3.1-8b/nf4-dq"}),
        ("", "llama-3.1-8b/nf4-dq:gpu3", {"llama-3.1-8b/nf4-dq"}),
        ("gpu8b and nf4-dq and mistral", ":gpu2", {"mistral-7b-v0.3/nf4-dq", "mistral-7b-instruct-v0.3/nf4-dq"}),
        ("", "llama-3.1-8b/nf4-dq and not gpu3", {"llama-3.1-8b/nf4-dq"}),
        ("", "llama-3.1-8b/nf4-dq:gpu7", set()),
        ("tiny", "", set()),
        ("gpu8b and golden", "", set()),
        ("", "llama-3.1-70b-instruct/int8:gpu0+gpu3", {"llama-3.1-70b-instruct/int8"}),
    ],
)
def test_what_the_selection_asks_on_any_gpu_is_dealt_and_nothing_else(
    catalogue: Catalogue, mark: str, keyword: str, wanted: set[str]
) -> None:
    found = candidates(ROOT, catalogue, Selection(mark=mark, keyword=keyword, base=ROOT), FOUR)
    assert {variant.id for variant in found} == wanted


def test_a_node_id_of_a_copy_has_its_variant_dealt(catalogue: Catalogue) -> None:
    check = "acceptance/test_load.py::test_loads_completely[llama-3.1-8b/nf4-dq:gpu1]"
    found = candidates(ROOT, catalogue, Selection(arguments=(check,), base=ROOT), FOUR)
    assert [variant.id for variant in found] == ["llama-3.1-8b/nf4-dq"]


def test_a_reference_machine_is_asked_for_each_entry_once(catalogue: Catalogue) -> None:
    copies = {"llama-3.1-8b/nf4-dq": tuple((gpu,) for gpu in FOUR.gpus)}
    plain, dealt = ([one.id for one in pairings(found)] for found in (catalogue, placed(catalogue, copies)))
    assert plain == dealt
