"""The largest context and batch that fit, and what a plan says of a machine that is not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.activations import Activations, Cache, CacheLayer, Moment
from plimsoll.footprint.demand import Demand, demand_of
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import ArchitectureFacts, Prediction, Workload
from plimsoll.footprint.sizes import Footprint
from plimsoll.gate.decide import Admitted
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.node.node import Node
from plimsoll.plan.estimates import AssumedSpeeds, capacity, largest, load_seconds
from plimsoll.plan.planning import UNSTATED, PlannedMachine, Planner, broken_promises, machine_of
from plimsoll.plan.table import render, to_json, totals_of

CATALOGUE = read_catalogue()
GB = 10**9
PREDICTION = Prediction(
    footprint=Footprint(parameters=(), buffers=()),
    facts=ArchitectureFacts(hidden_size=1, key_value_heads=1, context_length=5000, sliding_window=None),
    cache=Cache(layers=(CacheLayer(module="layers.0", state_bytes=0, token_bytes=10, window=None),)),
    activations=Activations(
        prefill=(Moment(terms=(0, 0, 0, 0, 90, 0), operation="aten.mul"),), head=(), decode=(), last_logits=1
    ),
)
DEMAND = Demand(
    prediction=PREDICTION,
    load={0: 500, RAM: 99},
    held={0: 400},
    caches={0: PREDICTION.cache or Cache(layers=())},
    placed=False,
    offloaded=0,
)


@pytest.mark.parametrize(("limit", "found"), [(0, 0), (1, 1), (17, 17), (99, 99), (100, 100), (10**9, 100)])
def test_the_largest_is_the_last_that_fits(limit: int, found: int) -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= limit

    assert largest(fits, 100) == found
    assert len(tried) <= 8


def test_the_context_is_what_is_left_beside_the_weights() -> None:
    found = capacity(DEMAND, {0: 400 + 100 * 37 + 50}, length=8)
    assert (found.context, found.whole_context) == (37, False)
    # Eight tokens and 256 new ones are 2,640 bytes a sequence in the end, more than the prompt's pass.
    assert found.batch == 1
    assert capacity(DEMAND, {0: 400 + 10 * 264 * 7 + 90 * 7}, length=8).batch == 7


def test_the_architecture_bounds_the_context() -> None:
    found = capacity(DEMAND, {0: 10**12}, length=8000)
    assert (found.context, found.whole_context, found.length) == (5000, True, 5000)


def test_nothing_fits_where_loading_alone_does_not() -> None:
    assert (capacity(DEMAND, {0: 499}, length=8).context, capacity(DEMAND, {}, length=8).batch) == (0, 0)


def test_without_a_prediction_there_is_no_capacity() -> None:
    blind = replace(DEMAND, prediction=replace(PREDICTION, cache=None, activations=None, unpredicted="why"))
    assert (capacity(blind, {0: 10**12}, length=8).context, capacity(blind, {0: 10**12}, length=8).batch) == (
        None,
        None,
    )


def test_load_times_follow_the_speeds() -> None:
    speeds = AssumedSpeeds(disk=2e9, link=10e9)
    assert load_seconds(20 * GB, Quantization.BF16, "cuda", speeds) == 10
    assert load_seconds(20 * GB, Quantization.NF4, "cuda", speeds) == 12
    assert load_seconds(20 * GB, Quantization.INT8, "cuda", speeds) == 16
    assert load_seconds(20 * GB, Quantization.NF4, "cpu", speeds) == 10
    assert load_seconds(20 * GB, Quantization.BF16, "cuda", AssumedSpeeds(disk=40e9, link=10e9)) == 2


# --- machines of data sheets


def test_a_profile_looks_like_a_node_with_free_gpus() -> None:
    machine = machine_of(CATALOGUE.profiles["a100-40g-x4"])
    assert machine.gpus == (40 * GB,) * 4
    assert {gpu.compute_capability for gpu in machine.node.gpus} == {"8.0"}
    assert machine.node.memory.available == machine.node.disk.free == UNSTATED
    assert not any("+" in (version or "") for version in machine.node.packages.values())


class Fixed:
    """Predictions that are the same for every variant."""

    def __init__(self, weights: int) -> None:
        self._prediction = replace(PREDICTION, footprint=Footprint(parameters=(_parameter(weights),), buffers=()))

    def of(self, variant: Any, **_: Any) -> Prediction:
        return self._prediction

    def demand(self, variant: Any) -> Demand:
        return demand_of(variant, self._prediction)

    def placement(self, variant: Any, free: Any) -> None:
        return None


def _parameter(size: int) -> Any:
    from tests.unit.test_plan_predictions import parameter

    return replace(parameter("layers.0.weight", (size // 2,), quantized=False), data_bytes=size)


def planner(weights: int) -> Planner:
    predictions: Any = Fixed(weights)
    return Planner(predictions, AssumedSpeeds(), length=100)


def row(weights: int, profile: str, variant: str = "llama-3.1-8b/bf16") -> Any:
    (found,) = planner(weights).rows([CATALOGUE.variants[variant]], machine_of(CATALOGUE.profiles[profile]))
    return found


def test_the_gate_decides_and_the_row_says_how_much_is_left() -> None:
    runs, refused = row(10 * GB, "a10-24g"), row(30 * GB, "a10-24g")
    assert runs.decision == Admitted()
    assert runs.needed + runs.left == runs.available == 24 * GB
    assert runs.capacity.context == 5000
    assert isinstance(refused.decision, Skip)
    assert (refused.decision.code, refused.capacity) == (SkipCode.VRAM, None)
    assert refused.left == 24 * GB - refused.needed < 0


def test_a_gpu_without_a_compute_capability_is_not_refused_for_it() -> None:
    assert row(10 * GB, "mi300x-192g").decision == Admitted()


def test_a_node_without_a_gpu_is_told_so(tmp_path: Any) -> None:
    from plimsoll.node.probe import RecordedProbe
    from tests.support.gate_subjects import RECORDED

    node: Node = replace(RecordedProbe(RECORDED / "synthetic-rtx4090-24g.json").probe(), gpus=(), unread=())
    (found,) = planner(GB).rows([CATALOGUE.variants["llama-3.1-8b/bf16"]], PlannedMachine(name="here", node=node))
    assert isinstance(found.decision, Skip)
    assert (found.decision.code, found.available, found.left) == (SkipCode.NO_GPU, None, None)


def test_a_document_that_promises_too_much_is_named() -> None:
    variant = CATALOGUE.variants["qwen2.5-7b/int8"]
    assert broken_promises(variant, row(8 * GB, "a10-24g", variant.id)) == []
    broken = broken_promises(variant, row(30 * GB, "a10-24g", variant.id))
    assert broken
    assert all("qwen2.5-7b/int8 does with" in text and "a10-24g has 24.00 GB" in text for text in broken)
    assert broken_promises(variant, replace(row(30 * GB, "a10-24g", variant.id), least=None)) == []


def test_a_table_has_a_line_for_each_variant_and_the_totals() -> None:
    machine = machine_of(CATALOGUE.profiles["a10-24g"])
    variants = [CATALOGUE.variants[name] for name in ("llama-3.1-8b/bf16", "llama-3.1-8b/int8", "tiny-llama/bf16")]
    rows = planner(10 * GB).rows(variants, machine)
    text = render(machine, rows, AssumedSpeeds())
    assert text.splitlines()[0] == "a10-24g: NVIDIA A10 24 GB, 24.00 GB (22.35 GiB) each, all free"
    assert sum(line.startswith(variant.id) for line in text.splitlines() for variant in variants) == 3
    assert "3 of 3 would run" in text
    assert "a disk that reads 2 GB/s and 12 GB/s from RAM to the GPU" in text
    totals = totals_of(rows)
    assert totals.disk == 2 * 10 * GB  # two variants of one model share its files
    assert totals.seconds == pytest.approx(sum(found.seconds or 0 for found in rows))
    data = to_json(machine, rows)
    assert [line["decision"] for line in data["rows"]] == ["run"] * 3
    assert data["rows"][0]["needed_bytes"] == rows[0].needed


def test_a_workload_reads_well() -> None:
    assert str(Workload(batch=1, prompt=1, new=2048)) == "a prompt of 1 token and 2,048 new ones"
    assert str(Workload(batch=32, prompt=128, new=256)) == "32 prompts of 128 tokens and 256 new ones each"


HUB_VARIANT = "llama-3.1-8b/bf16"


def here() -> PlannedMachine:
    """This machine, as large as may be but for the disk of the Hub's cache."""
    profile = CATALOGUE.profiles["h200-141g"]
    return PlannedMachine(name="here", node=machine_of(profile).node)


def planned(size: int, *names: str) -> list[Any]:
    variants = [CATALOGUE.variants[name] for name in names or (HUB_VARIANT,)]
    return planner(size).rows(variants, here())


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[Path, int]]:
    """A folder for HF_HOME on each of two file systems, with the bytes that are free there: the smaller first."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    memory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    assert memory.stat().st_dev != tmp_path.stat().st_dev
    free = {folder: _free(folder) for folder in (memory, tmp_path)}
    yield dict(sorted(free.items(), key=lambda item: item[1]))
    shutil.rmtree(memory)


def _free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_weights_of_the_hub_need_room_where_its_cache_is(
    caches: dict[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (small, little), (large, much) = caches.items()
    size = (little + much) // 2
    # Between the two by far, so that what others write meanwhile does not matter.
    assert much - little > 2 * GB
    monkeypatch.setenv("HF_HOME", str(small))
    monkeypatch.setenv("PLIMSOLL_CACHE", str(large))
    (refused,) = planned(size)
    assert isinstance(refused.decision, Skip)
    assert (refused.decision.code, "HF_HOME" in refused.decision.fix) == (SkipCode.DISK, True)
    assert f"free at {small}/hub" in refused.decision.have
    monkeypatch.setenv("HF_HOME", str(large))
    monkeypatch.setenv("PLIMSOLL_CACHE", str(small))
    # As large as this no GPU is: all that counts is which disk was asked.
    (other,) = planned(size)
    assert not (isinstance(other.decision, Skip) and other.decision.code is SkipCode.DISK)
    monkeypatch.setenv("HF_HUB_CACHE", str(small / "elsewhere"))
    (refused,) = planned(size)
    assert isinstance(refused.decision, Skip)
    assert f"free at {small}/elsewhere" in refused.decision.have


def _downloaded(home: Path, sizes: dict[str, int], repository: str) -> None:
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    for name, size in sizes.items():
        with (snapshot / name).open("wb") as file:
            file.truncate(size)


def test_what_is_downloaded_already_needs_no_room(caches: dict[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    small, little = next(iter(caches.items()))
    monkeypatch.setenv("HF_HOME", str(small))
    repository = str(CATALOGUE.variants[HUB_VARIANT].model.hub_id)
    size = little + GB
    (refused,) = planned(size)
    assert isinstance(refused.decision, Skip)
    # Holes in files: they have a size, and take no room.
    whole = {"config.json": 2, "tokenizer.json": 2, "model.safetensors": size}
    _downloaded(small, whole, repository)
    (found,) = planned(size)
    assert found.decision == Admitted()
    assert f"its weights are in {small}/hub" in found.note
    # A download that was interrupted: one shard of two.
    shutil.rmtree(small / "hub")
    _downloaded(
        small,
        {"config.json": 2, "model.safetensors.index.json": 2, "model-00001-of-00002.safetensors": 2 * GB},
        repository,
    )
    (found,) = planned(size)
    assert found.decision == Admitted()
    assert "2.00 GB (1.86 GiB) are there already" in found.note


def test_models_of_one_plan_share_the_disk(caches: dict[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    small, little = next(iter(caches.items()))
    monkeypatch.setenv("HF_HOME", str(small))
    size = little * 2 // 3
    first, same, second = planned(size, HUB_VARIANT, "llama-3.1-8b/int8", "qwen2.5-7b/bf16")
    assert (first.decision, same.decision) == (Admitted(), Admitted())
    assert isinstance(second.decision, Skip)
    assert "of which other models of this run take" in second.decision.have


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_plan_says_that_asking_the_hub_is_forbidden(
    caches: dict[Path, int], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    home = next(reversed(caches))
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv(variable, "1")
    (refused,) = planned(GB)
    assert isinstance(refused.decision, Skip)
    assert (refused.decision.code, f"unset {variable}" in refused.decision.fix) == (SkipCode.OFFLINE, True)
    _downloaded(
        home,
        {"config.json": 2, "tokenizer.json": 2, "model.safetensors": GB},
        str(CATALOGUE.variants[HUB_VARIANT].model.hub_id),
    )
    (found,) = planned(GB)
    assert found.decision == Admitted()


def test_a_data_sheet_has_no_disk_to_fetch_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert row(10 * GB, "a10-24g").decision == Admitted()
