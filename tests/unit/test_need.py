"""What a variant needs of a node, from its entry and its prediction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Quantization, Variant, WeightSource
from plimsoll.footprint.activations import Activations, Cache, CacheLayer, Moment
from plimsoll.footprint.demand import Placement, demand_of
from plimsoll.footprint.prediction import ArchitectureFacts, Obstacle, Prediction, Workload
from plimsoll.footprint.reference import reference_need
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.gate.decide import decide
from plimsoll.gate.need import CONTEXT_ALLOWANCE, HOST_ALLOWANCE, Need, need_of
from plimsoll.node.node import Node
from plimsoll.node.probe import RecordedProbe
from tests.support.gate_subjects import RECORDED, variant_of, with_environment


@pytest.fixture
def h100() -> Node:
    return RecordedProbe(RECORDED / "synthetic-8xh100-80g.json").probe()


@pytest.fixture
def rtx4090() -> Node:
    return RecordedProbe(RECORDED / "synthetic-rtx4090-24g.json").probe()


def parameter(name: str, data: int, statistics: int = 0, shape: tuple[int, ...] = (10, 10)) -> ExpectedParameter:
    return ExpectedParameter(
        name=name,
        shape=shape,
        quantized=False,
        data_bytes=data,
        statistics_bytes=statistics,
        storage_dtype="bfloat16",
        reason="",
    )


FOOTPRINT = Footprint(
    parameters=(
        parameter("model.embed_tokens.weight", 7000, shape=(1000, 10)),
        parameter("model.layers.0.mlp.weight", 200, 10),
        parameter("model.layers.1.mlp.weight", 300, 20),
        parameter("model.layers.10.mlp.weight", 400),
    ),
    buffers=(parameter("model.rotary.inv_freq", 50),),
)
PREDICTION = Prediction(
    footprint=FOOTPRINT,
    facts=ArchitectureFacts(hidden_size=None, key_value_heads=None, context_length=None, sliding_window=None),
    unpredicted="this test looks at the weights alone",
)


def needed(
    entry: Variant,
    prediction: Prediction = PREDICTION,
    placement: Placement | None = None,
    workload: Workload | None = None,
) -> Need:
    return need_of(entry, demand_of(entry, prediction, placement), workload)


WEIGHTS = 7000 + 200 + 10 + 300 + 20 + 400 + 50
LARGEST = 2 * 10_000


def test_a_cpu_variant_needs_its_weights_in_ram() -> None:
    need = needed(variant_of("cpu"))
    assert (need.ram, need.vram, need.vram_context) == (WEIGHTS + HOST_ALLOWANCE, None, 0)
    converted = needed(variant_of("cpu", Quantization.FP16))
    assert converted.ram == WEIGHTS + 4 * LARGEST + HOST_ALLOWANCE, "published checkpoints are in bfloat16"


@pytest.mark.parametrize(
    ("quantization", "transient", "packages", "bf16", "capability"),
    [
        (Quantization.FP32, 8 * LARGEST, 5, False, None),
        (Quantization.FP16, 4 * LARGEST, 5, False, None),
        (Quantization.BF16, 4 * LARGEST, 5, True, None),
        (Quantization.INT8, LARGEST, 6, True, "7.5"),
        (Quantization.NF4_DQ, LARGEST, 6, True, "6.0"),
    ],
)
def test_a_gpu_variant_passes_through_ram(
    quantization: Quantization, transient: int, packages: int, bf16: bool, capability: str | None
) -> None:
    need = needed(variant_of(quantization=quantization))
    assert need.ram == transient + HOST_ALLOWANCE
    assert (need.vram, need.vram_context) == ({0: WEIGHTS}, CONTEXT_ALLOWANCE)
    assert (len(need.packages), need.bf16, need.min_capability) == (packages, bf16, capability)
    assert ("bitsandbytes" in need.packages) is quantization.is_quantized


def test_a_packed_model_that_computes_in_float16_needs_no_bfloat16() -> None:
    fields = {"quantization_config": {"bnb_4bit_compute_dtype": "float16"}}
    need = needed(replace(variant_of(quantization=Quantization.NF4), load_options=fields))
    assert (need.bf16, need.min_capability) == (False, "6.0")


def test_what_an_attention_and_a_tokenizer_need_is_asked_for(tmp_path: Path) -> None:
    entry = variant_of("cpu", source=WeightSource.LOCAL)
    assert "flash-attn" in needed(replace(entry, attention="flash_attention_2")).packages
    (tmp_path / "tokenizer.model").touch()
    local = replace(entry, model=replace(entry.model, path=tmp_path))
    assert "sentencepiece" in needed(local).packages
    (tmp_path / "tokenizer.json").touch()
    assert "sentencepiece" not in needed(local).packages


def test_what_no_machine_can_do_is_skipped_before_anything_else_is_asked(h100: Node) -> None:
    obstacle = Obstacle(have="a class without it", need="attention", fix="set attention")
    need = needed(variant_of(), replace(PREDICTION, obstacle=obstacle))
    assert str(decide(variant_of(), h100, need)) == (
        "skip[architecture]: has a class without it, needs attention; fix: set attention"
    )


def test_a_device_map_places_each_part_by_its_longest_prefix() -> None:
    device_map: dict[str, str | int] = {"": 0, "model.layers.0": "cuda:3", "model.layers.1": "cpu"}
    need = needed(variant_of(quantization=Quantization.NF4, device_map=device_map))
    assert need.vram == {0: 7000 + 400 + 50, 3: 210}
    assert need.ram == 320 + LARGEST + HOST_ALLOWANCE


@pytest.mark.parametrize(
    ("device_map", "vram"),
    [
        ("auto", WEIGHTS),
        ("cuda:1", {1: WEIGHTS}),
        ({"": "cuda"}, {0: WEIGHTS}),
    ],
)
def test_a_device_map_in_words(device_map: Any, vram: Any) -> None:
    assert needed(variant_of(device_map=device_map)).vram == vram


def test_what_a_loaded_model_is_asked_needs_room_too() -> None:
    layers = tuple(
        CacheLayer(module=f"model.layers.{index}", state_bytes=0, token_bytes=3, window=None) for index in (0, 1, 10)
    )
    moment = Moment(terms=(1000, 0, 0, 0, 5, 0), operation="aten.linear")
    prediction = Prediction(
        footprint=FOOTPRINT,
        facts=PREDICTION.facts,
        cache=Cache(layers=layers),
        activations=Activations(prefill=(moment,), head=(), decode=(), last_logits=0),
    )
    work = Workload(batch=2, prompt=100, new=10)
    cached, moment_bytes = 2 * 110 * 3, 1000 + 2 * 100 * 5
    alone = needed(variant_of(), prediction, workload=work)
    assert alone.vram == {0: WEIGHTS + 3 * 2 * 100 * 3 + moment_bytes}
    placement: dict[str, str | int] = {"": 0, "model.layers.1": 1, "model.layers.10": 1}
    spread = needed(variant_of(device_map="auto"), prediction, placement, work)
    assert spread.vram == {0: 7260 + cached + moment_bytes, 1: 720 + 2 * cached + moment_bytes}
    assert needed(variant_of(), prediction).vram == {0: WEIGHTS + 32 * 128 * (9 + 5) + 1000}


def test_what_the_planner_would_offload_is_a_lack_of_vram(h100: Node) -> None:
    placement: dict[str, str | int] = {"": 0, "model.layers.1": "cpu", "model.layers.10": "disk"}
    need = needed(variant_of(device_map="auto"), placement=placement)
    assert need.offloaded == 320 + 400
    two = with_environment(h100, CUDA_VISIBLE_DEVICES="0,1")
    assert str(decide(variant_of(device_map="auto"), two, need)) == (
        "skip[vram]: has 169.80 GB (158.14 GiB) free on 2 GPUs together, so 720 bytes of weights would go to the CPU, "
        "needs 2.15 GB (2.00 GiB) of GPU memory; fix: choose a smaller quantization, or a node with more GPU memory"
    )


@pytest.mark.parametrize(
    ("source", "per_parameter"),
    [(WeightSource.HUB, 2), (WeightSource.TRAINED, 2), (WeightSource.LOCAL, 0), (WeightSource.SYNTHETIC, 0)],
)
def test_only_what_must_be_written_needs_disk(source: WeightSource, per_parameter: int) -> None:
    need = needed(variant_of("cpu", source=source, gated=True))
    assert need.disk == 10_300 * per_parameter
    assert (need.source, need.gated) == (source, True)


def test_the_reference_of_a_packed_70b_model_fits_where_the_packed_model_does() -> None:
    """Its largest part in 16 bit is needed beside nothing: the packed model is gone by then."""
    entry = variant_of(quantization=Quantization.NF4, source=WeightSource.HUB)
    embedding = parameter("model.embed_tokens.weight", 2 * 128256 * 8192, shape=(128256, 8192))
    layers = [parameter(f"model.layers.{n}.mlp.weight", 10**6, shape=(8192, 28672)) for n in range(80)]
    footprint = Footprint(parameters=(embedding, *layers), buffers=())
    prediction = Prediction(footprint=footprint, facts=PREDICTION.facts, unpredicted="weights alone")
    reference = reference_need(entry, prediction)
    assert reference is not None
    assert reference.on_device == 2 * 128256 * 8192
    assert reference.read == 2 * footprint.parameter_count > 35 * 10**9
    need = need_of(entry, demand_of(entry, prediction))
    assert isinstance(need.vram, dict)
    assert reference.on_device <= need.vram[0] < reference.read


def test_experts_that_files_keep_apart_are_joined_on_a_disk_that_has_the_room(h100: Node) -> None:
    entry = variant_of(quantization=Quantization.NF4, source=WeightSource.HUB)
    experts = replace(
        parameter("model.layers.0.mlp.experts.down_proj", 10**6, shape=(8, 6144, 16384)),
        published="model.layers.0.block_sparse_moe.experts.0.w2.weight",
    )
    prediction = replace(PREDICTION, footprint=Footprint(parameters=(experts,), buffers=()))
    reference = reference_need(entry, prediction)
    assert reference is not None
    assert reference.disk == 2 * 8 * 6144 * 16384
    assert need_of(entry, demand_of(entry, prediction)).scratch == reference.disk


def test_bf16_is_compared_with_nothing() -> None:
    assert reference_need(variant_of(quantization=Quantization.BF16, source=WeightSource.HUB), PREDICTION) is None


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.NF4])
def test_weights_that_an_entry_says_are_packed_are_compared_with_nothing(
    quantization: Quantization, tmp_path: Path
) -> None:
    entry = variant_of(quantization=quantization, source=WeightSource.HUB)
    assert reference_need(entry, PREDICTION) is not None
    packing = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    told = replace(entry.model, config={**entry.model.config, "quantization_config": packing})
    assert reference_need(replace(entry, model=told), PREDICTION) is None
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": packing}))
    folder = replace(entry.model, source=WeightSource.LOCAL, path=tmp_path)
    assert reference_need(replace(entry, model=folder), PREDICTION) is None
