"""Attention implementations of real models: which is called, what they agree on, and why one cannot be asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import CompareAttention
from plimsoll.host.server.attention import _unavailable as unavailable
from plimsoll.host.server.attention import called, compare
from plimsoll.host.server.effective import attentions_of
from plimsoll.host.server.generation import encode
from plimsoll.host.server.loading import LoadedModel, load
from plimsoll.judge.own_limits import rounding
from tests.support.ladders import without_sdpa
from tests.support.random_checkpoints import CONFIGS, load_spec, save_checkpoint
from tests.support.small_architectures import save_small

BF16 = Quantization.BF16
QUESTIONS = CompareAttention(questions=((3, 4, 5), (6, 7, 8, 9, 10, 11, 12, 13), (14,)))
HIGH = rounding("attention_divergence", BF16, 2).high or 0.0


def _loaded(folder: Path, family: str = "llama", **changes: Any) -> LoadedModel:
    return load(load_spec(folder, family, BF16, **changes), "as-is")


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_the_implementations_of_each_family_agree_and_are_really_called(tmp_path: Path, family: str) -> None:
    loaded = _loaded(save_checkpoint(family, tmp_path), family)
    ways = {way.name: way for way in compare(loaded, QUESTIONS)}
    asked = {name: way for name, way in ways.items() if way.agreement is not None}
    assert list(asked) == ["eager", "sdpa"]
    for name, way in asked.items():
        assert way.used == (name,)
        assert way.finite
        assert way.agreement is not None
        assert way.agreement.divergence < HIGH / 2
        assert way.agreement.positions == 2 * 12
        assert way.seconds is not None
        assert way.seconds > 0
    assert ways["flash_attention_2"].unavailable == "its kernels are for GPUs alone"
    assert ways["flex_attention"].unavailable == (
        "each process would compile it, with a C compiler; it is asked where an entry chooses it"
    )
    assert attentions_of(loaded.model) == ("sdpa",), "the model must be left with its own"


def test_a_faulty_implementation_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that loses its mask looks at the padding."""
    sound = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def maskless(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **rest: Any) -> Any:
        return sound(module, query, key, value, None, **{**rest, "is_causal": True})

    loaded = _loaded(save_checkpoint("llama", tmp_path))
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "sdpa", maskless)
    ways = {way.name: way for way in compare(loaded, QUESTIONS)}
    agreement = ways["sdpa"].agreement
    assert agreement is not None
    assert agreement.divergence > HIGH
    eager = ways["eager"].agreement
    assert eager is not None
    assert eager.divergence < HIGH


def test_what_is_called_is_seen_whatever_the_configuration_says(tmp_path: Path) -> None:
    loaded = _loaded(save_checkpoint("llama", tmp_path))
    for layer in loaded.model.model.layers:
        layer.self_attn.config = type(layer.self_attn.config)(**CONFIGS["llama"])
        layer.self_attn.config._attn_implementation = "eager"
    assert loaded.model.config._attn_implementation == "sdpa"
    assert attentions_of(loaded.model) == ("eager",)
    with torch.inference_mode(), called() as names:
        loaded.model(**encode(loaded, QUESTIONS.questions), use_cache=False)
    assert list(names) == []


def test_a_class_with_one_attention_is_compared_with_it_alone(tmp_path: Path) -> None:
    loaded = _loaded(without_sdpa(tmp_path), "llama", architecture="BloomForCausalLM", attention="eager")
    ways = {way.name: way for way in compare(loaded, QUESTIONS)}
    assert ways["sdpa"].unavailable == "BloomForCausalLM has none"
    assert ways["eager"].used == ("eager",)


@pytest.mark.parametrize("own", ["eager", "sdpa"])
def test_a_class_that_keeps_its_attention_is_asked_for_that_alone(tmp_path: Path, own: str) -> None:
    """Falcon drops what is set once it is made: asked for each, it would be compared with itself under two names."""
    folder = save_small("falcon", tmp_path)
    loaded = _loaded(folder, architecture="FalconForCausalLM", attention=own)
    ways = {way.name: way for way in compare(loaded, QUESTIONS)}
    assert [(way.name, way.used) for way in ways.values() if way.agreement is not None] == [(own, (own,))]
    other = "eager" if own == "sdpa" else "sdpa"
    assert ways[other].unavailable == f"FalconForCausalLM keeps the {own} that it was made with"
    assert attentions_of(loaded.model) == (own,)


def test_what_is_compiled_is_asked_on_a_gpu_where_the_entry_chooses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU each variant would compile it in a process of its own, and where there is no C compiler torch raises in
    the middle of a pass."""
    loaded = _loaded(save_checkpoint("llama", tmp_path))
    monkeypatch.setattr(
        type(loaded.model), "parameters", lambda _: iter([SimpleNamespace(device=torch.device("cuda"))])
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert unavailable(loaded, "flex_attention", "sdpa").startswith("each process would compile it")
    assert unavailable(loaded, "flex_attention", "flex_attention") == ""


def test_padding_on_the_right_keeps_each_prompt_at_the_start(tmp_path: Path) -> None:
    loaded = _loaded(save_checkpoint("llama", tmp_path))
    left, right = (encode(loaded, QUESTIONS.questions, right=side) for side in (False, True))
    assert left["attention_mask"].flip(-1).tolist() == right["attention_mask"].tolist()
    for row in range(3):
        kept = [batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist() for batch in (left, right)]
        assert kept[0] == kept[1]
