"""What a host tells of the speed of generation: the rounds that count, and the modules whose weights a step reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from plimsoll.host.rates import GenerationSpeed, TimeGeneration
from plimsoll.host.server.generation_speed import time_generation

SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def timed(model: nn.Module, **changes: Any) -> GenerationSpeed:
    found = asked(model, **changes)
    assert found is not None
    return found


def asked(model: nn.Module, **changes: Any) -> GenerationSpeed | None:
    request = {"batch": 2, "prompt_tokens": 5, "new_tokens": 3, "rounds": 4} | changes
    return time_generation(cast("Any", SimpleNamespace(model=model.eval())), TimeGeneration(**request))


def test_every_round_that_was_asked_for_is_told_and_no_other() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    passes = []
    model.model.register_forward_pre_hook(lambda *_: passes.append(1))
    found = timed(model)
    assert (len(found.first), len(found.step)) == (4, 4)
    assert min(*found.first, *found.step) > 0
    assert len(passes) == (1 + 1) + 4 * (1 + 3), "a first round that is not counted, then a prompt and its tokens each"


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedding_is_read_where_it_is_the_head_too(tied: bool) -> None:
    found = timed(LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=tied)))
    assert ("model.embed_tokens" in found.used) is tied
    assert {"model.layers.1.mlp.down_proj", "model.norm", "lm_head"} <= {*found.used}


def test_weights_that_no_token_runs_are_not_read() -> None:
    model = MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=4, num_experts_per_tok=2))
    model.model.tower = nn.Linear(64, 64)
    found = timed(model)
    assert not any("tower" in name for name in found.used)
    assert any(name.endswith("mlp.experts") for name in found.used)
    assert not any(part._forward_pre_hooks for part in model.modules()), "nothing is left behind in the model"


def test_only_tokens_that_every_vocabulary_has_are_asked() -> None:
    """Among the last are those that stand for pictures, which a model refuses without any."""
    model = LlamaForCausalLM(LlamaConfig(**SMALL | {"vocab_size": 5000}))
    asked: list[torch.Tensor] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0]))
    timed(model, prompt_tokens=200, rounds=1)
    prompts = [ids for ids in asked if ids.shape[1] == 200]
    assert len(prompts) == 2
    assert max(int(ids.max()) for ids in prompts) < 256


def test_a_class_that_keeps_its_cache_in_its_modules_is_timed_by_generate() -> None:
    config = RecurrentGemmaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        lru_width=16,
    )
    model = RecurrentGemmaForCausalLM(config)
    widths: list[int] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[1]))
    found = timed(model)
    assert (len(found.first), len(found.step)) == (4, 4)
    assert min(*found.first, *found.step) > 0
    assert widths[-16:] == [5, 1, 1, 1] * 4
    assert any(name.endswith("rg_lru") for name in found.used)
    assert not model._forward_pre_hooks, "nothing is left behind in the model"


@pytest.mark.parametrize(("context", "prompt", "steps"), [(64, 20, 9), (24, 15, 9), (10, 5, 5)])
def test_no_more_tokens_are_asked_than_there_are_positions_for(context: int, prompt: int, steps: int) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=context, n_embd=16, n_layer=2, n_head=2))
    passes: list[int] = []
    model.transformer.register_forward_pre_hook(lambda *_: passes.append(1))
    found = timed(model, prompt_tokens=20, new_tokens=9, rounds=1)
    assert found.prompt_tokens == prompt
    assert len(passes) == 2 + 1 + steps


def test_a_class_that_has_no_cache_is_not_timed() -> None:
    assert asked(OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=300, n_embd=16, n_layer=2, n_head=2))) is None
