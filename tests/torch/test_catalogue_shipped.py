"""The tiny entries and our own lists, held against the libraries they speak of; needs no weights and no network."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_args

import pytest
import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from plimsoll.catalogue.consistency import QUANTIZATION_FIELDS
from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.catalogue.schema import VariantShape
from tests.support.skeletons import skeleton

CATALOGUE = read_catalogue(known_marks=read_marks(Path(__file__).parents[2] / "markers.ini"))
MODELS = CATALOGUE.models
TINY = [variant for variant in CATALOGUE.variants.values() if variant.tier.id == "tiny"]


def test_tiny_families_differ_where_the_large_ones_do() -> None:
    qwen, mixtral, phi = (skeleton(MODELS[f"tiny-{family}"]) for family in ("qwen", "mixtral", "phi"))
    qwen_names, phi_names = ({name for name, _ in network.named_parameters()} for network in (qwen, phi))
    experts = {name: parameter.shape for name, parameter in mixtral.named_parameters() if "experts" in name}
    assert "lm_head.weight" not in qwen_names, "tied to the embedding"
    assert "model.layers.0.self_attn.q_proj.bias" in qwen_names
    assert "model.layers.0.self_attn.qkv_proj.weight" in phi_names
    assert experts["model.layers.0.mlp.experts.gate_up_proj"] == (4, 512, 128), "fused, a tensor for all experts"
    assert MODELS["tiny-mistral"].config["sliding_window"] is None


@pytest.mark.parametrize(
    "entry", [variant for variant in TINY if variant.quantization == "nf4"], ids=lambda variant: variant.id
)
def test_every_tiny_row_has_whole_blocks(entry: Variant) -> None:
    parameters = skeleton(entry.model).named_parameters()
    rows = {name: parameter.shape[-1] for name, parameter in parameters if parameter.dim() > 1}
    assert [name for name, length in rows.items() if length % 64] == []


def test_every_tiny_variant_has_a_limit_for_all_that_is_judged() -> None:
    judged = {
        "cold_load_time",
        "warm_load_time",
        "ram_peak",
        "ram_after",
        "ram_returned",
        "taught_accuracy",
        "repetition",
        "cache_divergence",
        "batch_divergence",
    }
    for variant in TINY:
        compared = {"quantized_divergence"} if variant.quantization != "bf16" else set()
        assert judged | compared <= {claim.metric for claim in variant.claims}, variant.id


def test_quantization_fields_are_those_of_bitsandbytes() -> None:
    parameters = inspect.signature(transformers.BitsAndBytesConfig.__init__).parameters
    assert set(QUANTIZATION_FIELDS) == set(parameters) - {"self", "kwargs"}


def test_attention_implementations_are_those_of_transformers() -> None:
    ours = get_args(VariantShape.model_fields["attention"].annotation)
    theirs = {name for name in ALL_ATTENTION_FUNCTIONS.valid_keys() if "|" not in name}
    assert set(ours) == theirs | {"eager"}
