"""Checkpoints that really fail at given rungs of the ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from tests.support.random_checkpoints import save_checkpoint, save_tokenizer


def overflowing(folder: Path) -> Path:
    """One whose hidden values go beyond what float16 can hold, and not beyond bfloat16: the projections of its
    feed-forward parts have large weights, as those of some models grew."""
    save_checkpoint("llama", folder)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.no_grad():
        # The tokenizer makes padding of words that it does not know, and padding is embedded as zero.
        model.model.embed_tokens.weight[0].normal_(0, 0.02)
        for layer in model.model.layers:
            layer.mlp.gate_proj.weight.mul_(4000)
            layer.mlp.up_proj.weight.mul_(4000)
    model.save_pretrained(folder, max_shard_size="400KB")
    save_tokenizer(folder)
    return folder


def poisoned(folder: Path) -> Path:
    """One with NaN among its weights: no dtype computes a number."""
    save_checkpoint("llama", folder)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder, max_shard_size="400KB")
    save_tokenizer(folder)
    return folder


def large(folder: Path) -> Path:
    """One whose two largest tensors take 41 MB each in 16 bits and 82 MB in float32: the second of them is what a limit
    of RAM refuses, which leaves the process room to say so."""
    return save_checkpoint("llama", folder, hidden_size=512, vocab_size=40_000, num_attention_heads=8)


def without_sdpa(folder: Path) -> Path:
    """One of a class whose attention cannot be replaced: BLOOM has its own alone."""
    torch.manual_seed(0)
    configuration = transformers.AutoConfig.for_model(
        "bloom", hidden_size=64, n_layer=2, n_head=4, vocab_size=512, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    auto: Any = transformers.AutoModelForCausalLM
    auto.from_config(configuration, dtype=torch.bfloat16).save_pretrained(folder, max_shard_size="100KB")
    save_tokenizer(folder)
    return folder


def headless(folder: Path) -> Path:
    """One that lacks its output head: transformers makes up a new one."""
    save_checkpoint("llama", folder)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder, dtype=torch.bfloat16)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    model.save_pretrained(folder, state_dict=state)
    save_tokenizer(folder)
    return folder
