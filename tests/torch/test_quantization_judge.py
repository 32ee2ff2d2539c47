"""The five checks, on lists written by hand and on models that really fell into each known trap."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from bitsandbytes.functional import has_avx512bf16
from transformers import BitsAndBytesConfig

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.packing import packed
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.host.protocol import Inventory, ParameterRecord
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.inventory import take_inventory
from plimsoll.host.server.loading import load
from plimsoll.judge.quantization import (
    Discrepancy,
    check_coverage,
    check_expected_set,
    check_placement,
    check_state,
    check_stored_bytes,
    quantized_count,
    summarise,
)
from tests.support.random_checkpoints import ARCHITECTURES, AUTO_CLASS, CONFIGS, load_spec, save_checkpoint
from tests.support.skeletons import predict

NF4 = Quantization.NF4


def texts(discrepancies: tuple[Discrepancy, ...]) -> list[str]:
    return [discrepancy.explanation for discrepancy in discrepancies]


# By hand ------------------------------------------------------------------------------------------------------------

EXPERTS, LINEAR, HEAD = "layers.0.experts.up", "layers.0.q_proj.weight", "lm_head.weight"
SHAPES = {EXPERTS: (2, 128, 64), LINEAR: (64, 64), HEAD: (32, 64)}


def expected(name: str) -> ExpectedParameter:
    shape = SHAPES[name]
    if name == HEAD:
        form: dict[str, Any] = {"data_bytes": 2 * 32 * 64, "statistics_bytes": 0, "storage_dtype": "bfloat16"}
        return ExpectedParameter(name=name, shape=shape, quantized=False, reason="output head", **form)
    form = dataclasses.asdict(packed(shape, NF4))
    return ExpectedParameter(name=name, shape=shape, quantized=True, reason="", **form)


def record(name: str, **changes: Any) -> ParameterRecord:
    should = expected(name)
    fields: dict[str, Any] = {
        "name": name,
        "shape": should.shape,
        "data_bytes": should.data_bytes,
        "statistics_bytes": should.statistics_bytes,
        "storage_dtype": should.storage_dtype,
        "scheme": "nf4" if should.quantized else "float",
        "device": "cpu",
        "block_size": 64 if should.quantized else None,
    }
    return ParameterRecord(**{**fields, **changes})


FOOTPRINT = Footprint(parameters=tuple(expected(name) for name in SHAPES), buffers=())
IN_16_BIT: dict[str, Any] = {
    "data_bytes": 2 * 2 * 128 * 64,
    "statistics_bytes": 0,
    "storage_dtype": "bfloat16",
    "scheme": "float",
}


def inventory(**replaced: ParameterRecord | None) -> Inventory:
    """The inventory that FOOTPRINT expects, with the records of `experts`, `linear` or `head` replaced or left out."""
    names = {"experts": EXPERTS, "linear": LINEAR, "head": HEAD}
    records = [replaced.get(short, record(name)) for short, name in names.items()]
    return Inventory(parameters=tuple(r for r in records if r is not None), buffers=())


def test_nothing_is_wrong_with_what_was_expected() -> None:
    good = inventory()
    assert check_expected_set(FOOTPRINT, good) == ()
    assert check_state(FOOTPRINT, good, NF4) == ()
    assert check_coverage(FOOTPRINT, good) == ()
    assert check_stored_bytes(FOOTPRINT, good) == ()
    assert quantized_count(FOOTPRINT, good) == 2 * 128 * 64 + 64 * 64


def test_the_expected_set_names_what_is_packed_too_little_or_too_much() -> None:
    bad = inventory(experts=record(EXPERTS, **IN_16_BIT), head=record(HEAD, storage_dtype="uint8", scheme="nf4"))
    assert texts(check_expected_set(FOOTPRINT, bad)) == [
        "layers.0.experts.up: bfloat16 instead of uint8",
        "lm_head.weight: uint8 instead of bfloat16 (output head)",
    ]
    assert texts(check_expected_set(FOOTPRINT, inventory(linear=None))) == [
        "layers.0.q_proj.weight: not in the model instead of uint8"
    ]
    more = Inventory(
        parameters=(*inventory().parameters, dataclasses.replace(record(LINEAR), name="layers.9.extra")), buffers=()
    )
    assert texts(check_expected_set(FOOTPRINT, more)) == ["layers.9.extra: uint8 instead of no such parameter"]


def test_the_state_must_be_of_the_scheme_the_blocks_and_the_shape() -> None:
    bad = inventory(
        experts=record(EXPERTS, scheme="fp4", block_size=128),
        linear=record(LINEAR, scheme="nf4-dq", shape=(60, 64), faults=("cannot be unpacked",)),
    )
    assert texts(check_state(FOOTPRINT, bad, NF4)) == [
        "layers.0.experts.up: fp4 with plain statistics instead of nf4 with plain statistics",
        "layers.0.experts.up: blocks of 128 instead of blocks of 64",
        "layers.0.q_proj.weight: cannot be unpacked",
        "layers.0.q_proj.weight: shape (60, 64) instead of shape (64, 64)",
        "layers.0.q_proj.weight: nf4 with nested (double-quantized) statistics instead of nf4 with plain statistics",
    ]


def test_coverage_says_what_stayed_in_floats() -> None:
    bad = inventory(experts=record(EXPERTS, **IN_16_BIT))
    assert texts(check_coverage(FOOTPRINT, bad)) == [
        "18 % of the parameters are quantized instead of 91 %: 1 of 1 expert tensors, 73 % of the parameters, stayed "
        "in bfloat16"
    ]


def test_packed_data_that_nothing_can_unpack_is_not_covered() -> None:
    bad = inventory(linear=record(LINEAR, scheme="unknown"))
    assert quantized_count(FOOTPRINT, bad) == 2 * 128 * 64
    assert len(check_coverage(FOOTPRINT, bad)) == 1


def test_stored_bytes_tell_data_from_statistics() -> None:
    bad = inventory(linear=record(LINEAR, statistics_bytes=0))
    assert texts(check_stored_bytes(FOOTPRINT, bad)) == [
        "the model stores 15,424 bytes where 15,744 bytes were predicted: 320 bytes too few",
        "layers.0.q_proj.weight: 2,048 bytes and 0 of statistics instead of 2,048 bytes and 320 of statistics",
    ]


def test_bytes_that_cancel_out_are_still_found() -> None:
    bad = inventory(
        linear=record(LINEAR, statistics_bytes=0), head=record(HEAD, data_bytes=expected(HEAD).data_bytes + 320)
    )
    assert bad.stored_bytes == FOOTPRINT.weight_bytes
    assert len(check_stored_bytes(FOOTPRINT, bad)) == 2


@pytest.mark.parametrize(
    ("device_map", "asked", "loaded_on", "wrong"),
    [
        ({"": "cpu"}, None, "cpu", []),
        ({"": "cuda:0"}, None, "cuda", []),
        ({"": "cpu"}, None, "cuda:0", ["the model: cpu instead of cuda:0"]),
        ({"": "cuda:1"}, None, "cuda:0", ["the model: cuda:1 instead of cuda:0"]),
        ({"model": "cuda:0", "lm_head": "cpu"}, {"": 0}, "cuda:0", ["lm_head: cpu instead of cuda:0"]),
        ({"model": "cuda:0", "lm_head": "cpu"}, {"model": 0, "lm_head": "cpu"}, "cuda:0", []),
        ({"model.layers.1": "cuda:0"}, {"model": 1, "model.layers.1": 0}, "cuda:0", []),
        ({"a": "cuda:0", "b": "cuda:1"}, "auto", "cuda:0", []),
        ({"a": "cuda:0", "b": "disk"}, "auto", "cuda:0", ["b: disk instead of a GPU"]),
        ({"": "cpu"}, "cuda:0", "cuda:0", ["the model: cpu instead of cuda:0"]),
    ],
)
def test_placement(device_map: dict[str, str], asked: Any, loaded_on: str, wrong: list[str]) -> None:
    assert texts(check_placement(device_map, asked, loaded_on)) == wrong


def test_a_summary_says_how_much_it_leaves_out() -> None:
    many = tuple(Discrepancy(parameter=str(i), expected="", found="", explanation=f"fault {i}") for i in range(7))
    assert summarise(many, limit=2) == "fault 0\nfault 1\n... and 5 more"
    assert summarise(many[:2], limit=2) == "fault 0\nfault 1"
    assert summarise(()) == ""


# For real -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return lambda family: root / family if (root / family).exists() else save_checkpoint(family, root / family)


def footprint(family: str, quantization: Quantization = NF4) -> Footprint:
    return predict(CONFIGS[family], AUTO_CLASS, ARCHITECTURES[family], quantization)


def findings(family: str, found: Inventory, quantization: Quantization = NF4) -> dict[str, list[str]]:
    """The explanations of the checks that a quantized model fails, by check."""
    should = footprint(family, quantization)
    every = {
        "set": check_expected_set(should, found),
        "state": check_state(should, found, quantization),
        "coverage": check_coverage(should, found),
        "bytes": check_stored_bytes(should, found),
    }
    return {check: texts(wrong) for check, wrong in every.items() if wrong}


def stock(folder: Path, **fields: Any) -> Any:
    """A model as someone loads it who follows the documents, without the suite."""
    configuration: Any = BitsAndBytesConfig
    settings = configuration(**fields)
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, device_map={"": "cpu"}, quantization_config=settings
    )


def test_experts_that_stayed_in_16_bit_are_named_with_their_share(checkpoint: Callable[[str], Path]) -> None:
    for quantization in (NF4, Quantization.NF4_DQ, Quantization.INT8):
        spec = load_spec(checkpoint("mixtral"), "mixtral", quantization, load_options={"fused_experts": "stock"})
        loaded = load(spec, "as-is")
        assert loaded.model.is_quantized, "the flag lies, which is the point"
        assert loaded.report.expert_quantization is None
        wrong = findings("mixtral", loaded.report.inventory, quantization)
        assert wrong["coverage"] == [
            "10 % of the parameters are quantized instead of 87 %: 4 of 4 expert tensors, 77 % of the parameters, "
            "stayed in bfloat16"
        ]
        dtype = "int8" if quantization is Quantization.INT8 else "uint8"
        assert wrong["set"][0] == f"model.layers.0.mlp.experts.gate_up_proj: bfloat16 instead of {dtype}"
        assert wrong["bytes"]


def test_flags_stay_true_after_dequantizing(checkpoint: Callable[[str], Path]) -> None:
    model = load(load_spec(checkpoint("llama"), "llama", NF4), "as-is").model
    quantizer = model.hf_quantizer
    model.dequantize()
    assert model.is_loaded_in_4bit
    assert quantizer.quantization_config.load_in_4bit
    wrong = findings("llama", take_inventory(model))
    assert wrong["coverage"] == [
        "0 % of the parameters are quantized instead of 69 %: 14 of 14 linear weights, 69 % of the parameters, stayed "
        "in bfloat16"
    ]


def test_a_skip_list_of_ones_own_replaces_the_defaults(checkpoint: Callable[[str], Path]) -> None:
    options = {"quantization_config": {"llm_int8_skip_modules": ["q_proj"]}}
    found = load(load_spec(checkpoint("llama"), "llama", NF4, load_options=options), "as-is").report.inventory
    wrong = findings("llama", found)
    assert wrong["set"] == [
        "model.layers.0.self_attn.q_proj.weight: bfloat16 instead of uint8",
        "model.layers.1.self_attn.q_proj.weight: bfloat16 instead of uint8",
        "lm_head.weight: uint8 instead of bfloat16 (output head)",
    ]


@pytest.mark.parametrize(("quantization", "layer"), [(NF4, "Linear4bit"), (Quantization.INT8, "Linear8bitLt")])
def test_a_tied_head_in_a_packed_class_that_holds_plain_bfloat16(
    checkpoint: Callable[[str], Path], quantization: Quantization, layer: str
) -> None:
    options = {"quantization_config": {"llm_int8_skip_modules": ["q_proj"]}}
    loaded = load(load_spec(checkpoint("qwen2"), "qwen2", quantization, load_options=options), "as-is")
    assert type(loaded.model.lm_head).__name__ == layer
    assert findings("qwen2", loaded.report.inventory, quantization)["state"] == [
        f"model.embed_tokens.weight: as lm_head.weight: packed by name ({layer}), but holds plain bfloat16"
    ]


def test_a_misspelt_field_is_refused_and_would_have_been_fp4(checkpoint: Callable[[str], Path]) -> None:
    options = {"quantization_config": {"load_in_4_bit": True}}
    with pytest.raises(LoadFailed, match=r"no field 'load_in_4_bit'.*did you mean 'load_in_4bit'\?") as caught:
        load(load_spec(checkpoint("llama"), "llama", NF4, load_options=options), "as-is")
    assert caught.value.kind is LoadFailure.OPTIONS
    wrong = findings("llama", take_inventory(stock(checkpoint("llama"), load_in_4_bit=True)))
    assert "fp4 with plain statistics instead of nf4 with plain statistics" in wrong["state"][0]
    assert wrong.keys() == {"state"}, "fp4 takes the same bytes, so only the state gives it away"


def test_target_parameters_are_accepted_and_dropped(checkpoint: Callable[[str], Path]) -> None:
    fields = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "target_parameters": ["gate_up_proj", "down_proj"]}
    assert (
        "4 of 4 expert tensors"
        in findings("mixtral", take_inventory(stock(checkpoint("mixtral"), **fields)))["coverage"][0]
    )


@pytest.mark.parametrize(
    ("asked", "fields", "text"),
    [
        (NF4, {"bnb_4bit_quant_type": "fp4"}, "fp4 with plain statistics instead of nf4 with plain statistics"),
        (
            NF4,
            {"bnb_4bit_use_double_quant": True},
            "nf4 with nested (double-quantized) statistics instead of nf4 with plain",
        ),
        (
            Quantization.NF4_DQ,
            {"bnb_4bit_use_double_quant": False},
            "nf4 with plain statistics instead of nf4 with nested",
        ),
    ],
)
def test_another_scheme_than_asked(
    checkpoint: Callable[[str], Path], asked: Quantization, fields: dict[str, Any], text: str
) -> None:
    for family in ("llama", "mixtral"):
        spec = load_spec(checkpoint(family), family, asked, load_options={"quantization_config": fields})
        wrong = findings(family, load(spec, "as-is").report.inventory, asked)
        assert all(text in line for line in wrong["state"])
        assert len(wrong["state"]) == sum(p.quantized for p in footprint(family, asked).parameters)


def test_the_models_own_figures_are_not_believed(checkpoint: Callable[[str], Path]) -> None:
    loaded = load(load_spec(checkpoint("llama"), "llama", NF4), "as-is")
    predicted = footprint("llama")
    statistics = sum(p.statistics_bytes for p in predicted.parameters)
    assert loaded.model.get_memory_footprint() == predicted.weight_bytes - statistics
    assert sum(p.numel() for p in loaded.model.parameters()) < predicted.parameter_count
    assert loaded.report.inventory.stored_bytes == predicted.weight_bytes


def test_int8_scales_are_found_before_and_after_a_forward_pass(checkpoint: Callable[[str], Path]) -> None:
    loaded = load(load_spec(checkpoint("llama"), "llama", Quantization.INT8), "as-is")
    with torch.no_grad():
        loaded.model(torch.tensor([[1, 5, 6]]))
    assert loaded.model.model.layers[0].mlp.up_proj.weight.SCB is None
    assert findings("llama", take_inventory(loaded.model), Quantization.INT8) == {}


def test_an_inventory_after_a_forward_pass_does_not_pass_for_one_before(checkpoint: Callable[[str], Path]) -> None:
    loaded = load(load_spec(checkpoint("llama"), "llama", NF4), "as-is")
    with torch.no_grad():
        loaded.model(torch.tensor([[1, 5, 6]]))
    state = findings("llama", take_inventory(loaded.model)).get("state", [])
    repacks = has_avx512bf16()  # type: ignore[no-untyped-call]
    assert bool(state) == repacks
    assert not repacks or "repacked by a forward pass on this CPU: the inventory was taken too late" in state[0]


def test_scales_and_states_that_went_missing_are_faults(checkpoint: Callable[[str], Path]) -> None:
    model = load(load_spec(checkpoint("llama"), "llama", Quantization.INT8), "as-is").model
    model.model.layers[0].mlp.up_proj.weight.SCB = None
    wrong = findings("llama", take_inventory(model), Quantization.INT8)
    assert wrong["state"] == [
        "model.layers.0.mlp.up_proj.weight: int8 data without its row scales (SCB): nothing can unpack it"
    ]
    assert "1 of 14 linear weights" in wrong["coverage"][0]
    model = load(load_spec(checkpoint("llama"), "llama", NF4), "as-is").model
    model.model.layers[0].mlp.up_proj.weight.quant_state = None
    wrong = findings("llama", take_inventory(model))
    assert wrong["state"][0] == (
        "model.layers.0.mlp.up_proj.weight: Linear4bit without a quant_state: nothing can unpack its uint8 data"
    )
    assert "1 of 14 linear weights" in wrong["coverage"][0]
