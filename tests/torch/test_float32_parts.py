"""A model of which the architecture holds a part in float32, whatever dtype is asked for: Qwen2.5-Omni's, in small.

The expectation is read off the architecture, and what `from_pretrained` stores must be the same parameter by parameter:
the part that makes sound in float32, the biases of its packed layers in 16 bit, all else as asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.protocol import CompareCache, Generate, Inventory, LoadSpec, ParameterRecord
from plimsoll.host.server.caching import compare_cache
from plimsoll.host.server.generation import generate
from plimsoll.host.server.loading import load
from plimsoll.host.server.predict.config import configuration_of
from plimsoll.judge.quantization import (
    check_coverage,
    check_dtypes,
    check_expected_set,
    check_state,
    check_stored_bytes,
)
from tests.support.random_checkpoints import save_tokenizer
from tests.support.skeletons import predict
from tests.support.subsession import run_suite

AUTO_CLASS, ARCHITECTURE = "AutoModelForMultimodalLM", "Qwen2_5OmniForConditionalGeneration"
_ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
_DECODER: Mapping[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_parameters": _ROPE,
}
CONFIG: Mapping[str, Any] = {
    "model_type": "qwen2_5_omni",
    "thinker_config": {
        "model_type": "qwen2_5_omni_thinker",
        "vision_start_token_id": 300,
        "text_config": {"model_type": "qwen2_5_omni_text", **_DECODER},
        "audio_config": {
            "model_type": "qwen2_5_omni_audio_encoder",
            "d_model": 64,
            "encoder_layers": 1,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "output_dim": 64,
        },
        "vision_config": {
            "model_type": "qwen2_5_omni_vision_encoder",
            "depth": 1,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [0],
        },
    },
    "talker_config": {"model_type": "qwen2_5_omni_talker", **_DECODER, "embedding_size": 64, "head_dim": 16},
    "token2wav_config": {
        "model_type": "qwen2_5_omni_token2wav",
        "dit_config": {
            "model_type": "qwen2_5_omni_dit",
            "hidden_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "head_dim": 16,
            "emb_dim": 32,
            "num_embeds": 64,
        },
        "bigvgan_config": {
            "model_type": "qwen2_5_omni_bigvgan",
            "upsample_initial_channel": 64,
            "upsample_rates": [5, 3],
            "upsample_kernel_sizes": [11, 7],
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3, 5]],
        },
    },
}
SCHEMES = (Quantization.BF16, Quantization.INT8, Quantization.NF4_DQ)


def _spec(quantization: Quantization) -> LoadSpec:
    return LoadSpec(
        checkpoint="a model of several parts",
        revision=None,
        auto_class=AUTO_CLASS,
        architecture=ARCHITECTURE,
        quantization=quantization,
        device="cpu",
        device_map=None,
        attention="sdpa",
        generation=Generation(max_new_tokens=8),
        synthetic_config=CONFIG,
    )


@lru_cache
def loaded(quantization: Quantization) -> Inventory:
    return load(_spec(quantization), "as-is").report.inventory


@lru_cache
def predicted(quantization: Quantization) -> Footprint:
    return predict(dict(CONFIG), AUTO_CLASS, ARCHITECTURE, quantization)


@pytest.mark.parametrize("quantization", SCHEMES, ids=str)
def test_what_is_stored_is_what_was_predicted(quantization: Quantization) -> None:
    footprint, inventory = predicted(quantization), loaded(quantization)
    found = [
        *check_expected_set(footprint, inventory),
        *check_stored_bytes(footprint, inventory),
        *check_dtypes(footprint, inventory, quantization.compute_dtype),
        *(check_coverage(footprint, inventory) if quantization.is_quantized else ()),
        *(check_state(footprint, inventory, quantization) if quantization.is_quantized else ()),
    ]
    assert [str(discrepancy) for discrepancy in found] == []
    assert inventory.stored_bytes == footprint.weight_bytes


def test_which_parts_are_in_float32() -> None:
    dtypes = {part.name: part.storage_dtype for part in predicted(Quantization.NF4_DQ).parameters}
    in_float32 = {name for name, dtype in dtypes.items() if dtype == "float32"}
    assert in_float32 == {
        name
        for name, dtype in dtypes.items()
        if name.startswith("token2wav.")
        and dtype != "uint8"
        and dtypes.get(name.replace(".bias", ".weight")) != "uint8"
    }
    assert dtypes["token2wav.code2wav_dit_model.transformer_blocks.0.attn.to_q.bias"] == "bfloat16"
    assert dtypes["token2wav.code2wav_dit_model.input_embed.spk_encoder.asp.conv.bias"] == "float32"


def test_parts_that_files_call_otherwise_are_known_by_both_names() -> None:
    published = {part.name: part.published for part in predicted(Quantization.INT8).parameters}
    assert published["thinker.model.audio_tower.conv1.weight"] == "thinker.audio_tower.conv1.weight"
    assert published["thinker.lm_head.weight"] == ""


def _as(dtype: str) -> Callable[[ParameterRecord], ParameterRecord]:
    return lambda record: replace(record, storage_dtype=dtype) if record.scheme == "float" else record


@pytest.mark.parametrize(
    ("changed", "dtype", "said"),
    [
        ("thinker.model.language_model.norm.weight", "float32", "is in float32, and bfloat16 was asked for"),
        ("thinker.model.language_model.norm.weight", "float16", "is in float16, and bfloat16 was asked for"),
        ("token2wav.code2wav_bigvgan_model.conv_pre.weight", "bfloat16", "is in bfloat16, and float32 was asked for"),
    ],
)
def test_another_dtype_is_found_by_name(changed: str, dtype: str, said: str) -> None:
    footprint, inventory = predicted(Quantization.INT8), loaded(Quantization.INT8)
    records = tuple(_as(dtype)(record) if record.name == changed else record for record in inventory.parameters)
    found = check_dtypes(footprint, replace(inventory, parameters=records), "bfloat16")
    assert [str(discrepancy) for discrepancy in found] == [f"{changed} {said}"]


def test_a_model_wholly_in_another_dtype_is_said_in_one_line() -> None:
    inventory = loaded(Quantization.BF16)
    records = tuple(map(_as("float32"), inventory.parameters))
    (found,) = check_dtypes(predicted(Quantization.BF16), replace(inventory, parameters=records), "bfloat16")
    assert str(found) == "no parameter is stored in bfloat16: not even embeddings or norms"


def test_a_checkpoint_of_it_is_loaded_though_its_class_would_fail_to(tmp_path: Path) -> None:
    builder: Any = transformers.AutoModelForMultimodalLM
    made = builder.from_config(configuration_of(CONFIG, ARCHITECTURE), dtype=torch.bfloat16)
    made.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    with pytest.raises(OSError, match=r"does not appear to have a file named spk_dict\.pt"):
        builder.from_pretrained(tmp_path)
    spec = replace(_spec(Quantization.BF16), checkpoint=str(tmp_path), synthetic_config=None)
    model = load(spec, "as-is")
    assert model.report.inventory.stored_bytes == predicted(Quantization.BF16).weight_bytes
    assert model.report.missing_keys == model.report.unexpected_keys == ()
    assert model.report.checkpoint_bytes > 0
    assert model.model is model.whole.thinker, "text is asked of the part that gives logits for it"
    answers = generate(model, Generate(questions=("what is this",), max_new_tokens=4, batch_size=1))
    assert answers.finite
    assert len(answers.completions[0].token_ids) <= 4
    # What it keeps of three questions must not reach the next request.
    generate(model, Generate(questions=("what", "is", "this"), max_new_tokens=4, batch_size=3))
    agreement = compare_cache(model, CompareCache(questions=("what is this",), new_tokens=4))
    assert agreement is not None
    assert agreement.divergence < 0.1


def test_the_suite_accepts_it(tmp_path: Path) -> None:
    catalogue = tmp_path / "parts.toml"
    catalogue.write_text(
        f"""
[[model]]
id = "parts"
family = "other"
architecture = "{ARCHITECTURE}"
auto_class = "{AUTO_CLASS}"
source = "synthetic"
licence = "none"
generation = {{ max_new_tokens = 8 }}
config = {_inline(CONFIG)}

[[variant]]
models = ["parts"]
quantizations = ["int8"]
tier = "tiny"
"""
    )
    asked = "test_load or test_quantization or test_stored_bytes or test_finite_logits or test_greedy_repeats"
    outcome = run_suite(tmp_path / "reports", f"--catalogue={catalogue}", "-k", f"parts and ({asked})")
    assert outcome.status == 0, outcome.output
    questions = ("loads_in_asked_dtype", "stored_bytes", "bytes_of_each_parameter", "finite_logits", "greedy_repeats")
    for question in questions:
        assert outcome.cell(f"test_{question}", "parts/int8")["outcome"] == "pass"


def _inline(value: Any) -> str:
    """A configuration as TOML in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
