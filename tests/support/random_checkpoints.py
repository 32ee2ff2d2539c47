"""Checkpoints with random weights, one for each of the five families: small enough to load in a blink, sharded, with a
tokenizer, and saved by the real `save_pretrained`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.host.protocol import LoadSpec

_SHARED: Final[Mapping[str, Any]] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "llama": {"model_type": "llama", **_SHARED},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True, **_SHARED},
    "mistral": {"model_type": "mistral", **_SHARED},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2, **_SHARED},
    "phi3": {"model_type": "phi3", **_SHARED},
}
ARCHITECTURES: Final[Mapping[str, str]] = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "phi3": "Phi3ForCausalLM",
}
AUTO_CLASS: Final = "AutoModelForCausalLM"
SPECIALS: Final = ("<pad>", "<s>", "</s>")


def save_checkpoint(family: str, folder: Path, **config: Any) -> Path:
    """Save a checkpoint of a family with random weights in bfloat16, in at least two shards, and a tokenizer."""
    torch.manual_seed(0)
    configuration = transformers.AutoConfig.for_model(**{**CONFIGS[family], **config})
    auto_class: Any = transformers.AutoModelForCausalLM
    model = auto_class.from_config(configuration, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="400KB")
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Save a tokenizer of one token a word that knows the numbers up to 508."""
    words = [*SPECIALS, *(str(number) for number in range(509))]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Whitespace()
    pad, begin, end = SPECIALS
    fast_class: Any = transformers.PreTrainedTokenizerFast
    fast = fast_class(tokenizer_object=tokenizer, pad_token=pad, bos_token=begin, eos_token=end)
    fast.save_pretrained(folder)


def load_spec(checkpoint: Path, family: str, quantization: Quantization, **changes: Any) -> LoadSpec:
    """What a controller would send for such a checkpoint, with some fields changed."""
    fields: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "revision": None,
        "auto_class": AUTO_CLASS,
        "architecture": ARCHITECTURES[family],
        "quantization": quantization,
        "device": "cpu",
        "device_map": None,
        "attention": "sdpa",
        "generation": Generation(max_new_tokens=8),
    }
    return LoadSpec(**{**fields, **changes})
