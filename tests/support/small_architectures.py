"""Twelve architectures that no entry has, small: really saved with random weights, a tokenizer and no word of advice.

The sizes are made up; each has what makes its kind special (experts, windows, latent attention, states, a decoder that
listens to an encoder).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from tests.support.random_checkpoints import save_tokenizer

_TOKENS: Final = {"vocab_size": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_SIZES: Final = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    **_TOKENS,
}
_GROUPED: Final = {**_SIZES, "num_key_value_heads": 2}
_EXPERTS: Final = {"num_experts": 4, "num_experts_per_tok": 2}

TWELVE: Final[Mapping[str, tuple[str, str, dict[str, Any]]]] = {
    "gemma-2": (
        "Gemma2ForCausalLM",
        "gemma2",
        {**_GROUPED, "head_dim": 16, "sliding_window": 32},
    ),
    "gemma-3": (
        "Gemma3ForCausalLM",
        "gemma3_text",
        {**_GROUPED, "head_dim": 16, "sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "qwen3": ("Qwen3ForCausalLM", "qwen3", {**_GROUPED, "head_dim": 16}),
    "qwen3-moe": (
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        {**_GROUPED, **_EXPERTS, "head_dim": 16, "moe_intermediate_size": 32},
    ),
    "olmoe": ("OlmoeForCausalLM", "olmoe", {**_GROUPED, **_EXPERTS}),
    "gpt-oss": (
        "GptOssForCausalLM",
        "gpt_oss",
        {**_GROUPED, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 32},
    ),
    "deepseek-v3": (
        "DeepseekV3ForCausalLM",
        "deepseek_v3",
        {
            **_SIZES,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "n_shared_experts": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": None,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
            "first_k_dense_replace": 1,
        },
    ),
    "falcon": (
        "FalconForCausalLM",
        "falcon",
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, **_TOKENS},
    ),
    "bloom": ("BloomForCausalLM", "bloom", {"hidden_size": 64, "n_head": 4, "n_layer": 2, **_TOKENS}),
    "gpt-neox": ("GPTNeoXForCausalLM", "gpt_neox", dict(_SIZES)),
    "mamba": ("MambaForCausalLM", "mamba", {"hidden_size": 64, "state_size": 4, "num_hidden_layers": 2, **_TOKENS}),
    "t5": (
        "T5ForConditionalGeneration",
        "t5",
        {
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
            **_TOKENS,
            "decoder_start_token_id": 0,
        },
    ),
}
"""Name -> the class, its model_type, and what its configuration says."""


LATER: Final[Mapping[str, tuple[str, str, dict[str, Any]]]] = {
    "gemma-4": (
        "Gemma4ForCausalLM",
        "gemma4_text",
        {
            **_GROUPED,
            "head_dim": 16,
            "global_head_dim": 32,
            "hidden_size_per_layer_input": 16,
            "vocab_size_per_layer_input": 512,
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "llama-4": (
        "Llama4ForCausalLM",
        "llama4_text",
        {**_GROUPED, "head_dim": 16, "intermediate_size_mlp": 128, "num_local_experts": 4, "attention_chunk_size": 32},
    ),
}
"""More, each for what no other does: settings that differ by layer, and a look at where the embedding lies."""


def save_small(name: str, folder: Path, **config: Any) -> Path:
    """Save one of them in bfloat16, in shards, by the real `save_pretrained`."""
    architecture, model_type, given = {**TWELVE, **LATER}[name]
    torch.manual_seed(0)
    builder: Any = getattr(transformers, architecture)
    configuration = transformers.AutoConfig.for_model(model_type, **{**given, **config})
    model = builder._from_config(configuration, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="200KB")
    save_tokenizer(folder)
    return folder
