"""Held out: entries for three architectures that no code of ours mentions, as a user would write them.

What is stored must be predicted to the byte, and quantized as far as the architecture allows, by code that has never
heard of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from plimsoll.catalogue.entries import Catalogue, Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.prediction import Prediction, Subject
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.loading import load
from plimsoll.host.server.predict.variant import predict_all
from plimsoll.judge.quantization import check_coverage, check_expected_set, check_state, check_stored_bytes
from tests.support.random_checkpoints import save_tokenizer
from tests.support.subsession import ROOT

UNSEEN = ("cohere", "starcoder2", "qwen2_moe")
"""Parallel attention with a tied, scaled head; layer norms with biases and plain feed-forward layers; and a mixture
with a shared expert and a gate of its own."""

ENTRIES = """
[[model]]
id = "unseen-cohere"
family = "other"
architecture = "CohereForCausalLM"
source = "synthetic"
licence = "none"
[model.config]
model_type = "cohere"
vocab_size = 512
hidden_size = 128
intermediate_size = 256
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 256
pad_token_id = 0
[model.generation]
max_new_tokens = 8

[[model]]
id = "unseen-starcoder2"
family = "other"
architecture = "Starcoder2ForCausalLM"
source = "synthetic"
licence = "none"
[model.config]
model_type = "starcoder2"
vocab_size = 512
hidden_size = 128
intermediate_size = 256
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 256
sliding_window = 64
[model.generation]
max_new_tokens = 8

[[model]]
id = "unseen-qwen2_moe"
family = "other"
architecture = "Qwen2MoeForCausalLM"
source = "synthetic"
licence = "none"
[model.config]
model_type = "qwen2_moe"
vocab_size = 512
hidden_size = 128
intermediate_size = 256
moe_intermediate_size = 64
shared_expert_intermediate_size = 128
num_experts = 8
num_experts_per_tok = 2
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 256
[model.generation]
max_new_tokens = 8

[[variant]]
models = ["unseen-cohere", "unseen-starcoder2", "unseen-qwen2_moe"]
quantizations = ["bf16", "int8", "nf4", "nf4-dq"]
tier = "tiny"
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    path = tmp_path_factory.mktemp("unseen") / "unseen.toml"
    path.write_text(ENTRIES)
    return read_catalogue([path])


@pytest.fixture(scope="module")
def checkpoints(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights of each, saved by the real `save_pretrained`."""
    folders = {}
    for model_type in UNSEEN:
        torch.manual_seed(0)
        config = dict(catalogue.models[f"unseen-{model_type}"].config)
        auto_class: Any = transformers.AutoModelForCausalLM
        model = auto_class.from_config(transformers.AutoConfig.for_model(**config), dtype=torch.bfloat16)
        folders[model_type] = tmp_path_factory.mktemp(model_type)
        model.save_pretrained(folders[model_type], max_shard_size="400KB")
        save_tokenizer(folders[model_type])
    return folders


def variant_of(catalogue: Catalogue, model_type: str, quantization: Quantization) -> Variant:
    return catalogue.variants[f"unseen-{model_type}/{quantization}"]


def predicted(variant: Variant) -> Prediction:
    return predict_all(Subject.of(variant))


@pytest.mark.parametrize("quantization", [Quantization.BF16, Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ])
@pytest.mark.parametrize("model_type", UNSEEN)
def test_an_unseen_architecture_stores_what_was_predicted(
    catalogue: Catalogue, checkpoints: dict[str, Path], model_type: str, quantization: Quantization
) -> None:
    variant = variant_of(catalogue, model_type, quantization)
    footprint = predicted(variant).footprint
    spec = LoadSpec(
        checkpoint=str(checkpoints[model_type]),
        revision=None,
        auto_class=variant.model.auto_class,
        architecture=variant.model.architecture,
        quantization=quantization,
        device="cpu",
        device_map=None,
        attention="sdpa",
        generation=variant.model.generation,
    )
    inventory = load(spec, "as-is").report.inventory
    assert inventory.stored_bytes == footprint.weight_bytes
    found = [
        *check_expected_set(footprint, inventory),
        *check_stored_bytes(footprint, inventory),
        *(check_coverage(footprint, inventory) if quantization.is_quantized else ()),
        *(check_state(footprint, inventory, quantization) if quantization.is_quantized else ()),
    ]
    assert [str(discrepancy) for discrepancy in found] == []


@pytest.mark.parametrize("model_type", UNSEEN)
def test_all_but_embeddings_heads_norms_and_routers_is_covered(catalogue: Catalogue, model_type: str) -> None:
    footprint = predicted(variant_of(catalogue, model_type, Quantization.NF4)).footprint
    left = {parameter.reason.partition(",")[0] for parameter in footprint.parameters if not parameter.quantized}
    assert left <= {"embedding", "output head", "norm", "router", "bias"}
    if model_type == "qwen2_moe":
        assert any(len(p.shape) == 3 and p.quantized for p in footprint.parameters)
        assert footprint.quantized_fraction > 0.75


@pytest.mark.parametrize("model_type", UNSEEN)
def test_its_forward_pass_is_followed(catalogue: Catalogue, model_type: str) -> None:
    prediction = predicted(variant_of(catalogue, model_type, Quantization.NF4_DQ))
    assert prediction.unpredicted == ""
    assert prediction.cache is not None
    assert prediction.activations is not None
    assert len(prediction.cache.layers) == 2
    assert prediction.cache.token_bytes == 2 * 2 * 2 * 32 * 2
    windows = {layer.window for layer in prediction.cache.layers}
    assert windows == ({63} if model_type == "starcoder2" else {None})


def test_no_code_of_ours_mentions_them() -> None:
    sources = [*ROOT.glob("plimsoll/**/*.py"), *ROOT.glob("fixtures/*.py"), *ROOT.glob("acceptance/*.py")]
    assert len(sources) > 100
    for source in sources:
        text = source.read_text().lower()
        assert not any(name in text for name in (*UNSEEN, "qwen2moe")), source
