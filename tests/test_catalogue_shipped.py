"""The shipped entries and our own lists, held against the libraries they speak of; needs no weights and no network."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from plimsoll.catalogue.checks import QUANTIZATION_FIELDS
from plimsoll.catalogue.entries import Model, Variant
from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.catalogue.schema import VariantTable

CATALOGUE = read_catalogue(known_marks=read_marks(Path(__file__).parents[1] / "markers.ini"))
MODELS = CATALOGUE.models
TINY = [variant for variant in CATALOGUE.variants.values() if variant.tier.id == "tiny"]


def built(model: Model) -> tuple[Any, torch.nn.Module]:
    """The configuration, and the model on the meta device, which stores no weights."""
    options = dict(model.config)
    config = transformers.AutoConfig.for_model(options.pop("model_type"), **options)
    with torch.device("meta"):
        return config, getattr(transformers, model.auto_class).from_config(config)


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_configuration_builds_the_class_it_names(model: Model) -> None:
    config, network = built(model)
    assert type(network).__name__ == model.architecture
    # transformers keeps a key that it does not know, and builds with its default for the one that was meant.
    assert set(model.config) - {"model_type"} <= {field.name for field in fields(type(config))}


def test_tiny_families_differ_where_the_large_ones_do() -> None:
    _, qwen = built(MODELS["tiny-qwen"])
    _, mixtral = built(MODELS["tiny-mixtral"])
    _, phi = built(MODELS["tiny-phi"])
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
    _, network = built(entry.model)
    rows = {name: parameter.shape[-1] for name, parameter in network.named_parameters() if parameter.dim() > 1}
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
    ours = get_args(VariantTable.model_fields["attention"].annotation)
    theirs = {name for name in ALL_ATTENTION_FUNCTIONS.valid_keys() if "|" not in name}
    assert set(ours) == theirs | {"eager"}
