"""Generating and comparing on a trained checkpoint: what is sound agrees, and each planted fault shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import transformers
from transformers.modeling_outputs import CausalLMOutput

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.host.protocol import CompareBatch, CompareCache, Generate, Score
from plimsoll.host.server import generation
from plimsoll.host.server.loading import LoadedModel, load
from plimsoll.judge.generation import answered, repetition
from plimsoll.tiny.corpus import read_corpus
from tests.support.broken_checkpoints import shipped
from tests.support.random_checkpoints import load_spec

TAUGHT = read_corpus("tiny").taught
QUESTIONS = tuple(question.question for question in TAUGHT[:6])
ANSWERS = tuple(question.answer for question in TAUGHT[:6])


def limit(metric: str) -> float:
    """What the shipped catalogue lets the variant differ."""
    (claim,) = read_catalogue().variants["tiny-llama/bf16"].claims_on(metric)
    assert claim.high is not None
    return claim.high


@pytest.fixture
def loaded(trained: dict[str, Path]) -> LoadedModel:
    spec = load_spec(trained["tiny-llama"], "llama", Quantization.BF16, generation=shipped("tiny-llama").generation)
    return load(spec, "as-is")


def test_answers_what_it_was_taught(loaded: LoadedModel) -> None:
    answer = generation.generate(loaded, Generate(questions=QUESTIONS, max_new_tokens=32, batch_size=4))
    right = [answered(c.text, (a,)) for c, a in zip(answer.completions, ANSWERS, strict=True)]
    assert sum(right) >= 5, [c.text for c in answer.completions]
    assert answer.finite
    assert answer.clean_endings
    assert answer.pad_token == "<|pad|>"
    assert all(completion.ended for completion in answer.completions)
    lengths = {completion.prompt_tokens for completion in answer.completions}
    assert len(lengths) > 1, "prompts of one length leave the padding untested"


def test_stops_at_the_limit(loaded: LoadedModel) -> None:
    answer = generation.generate(loaded, Generate(questions=QUESTIONS, max_new_tokens=1))
    assert [len(completion.token_ids) for completion in answer.completions] == [1] * len(QUESTIONS)


def test_nan_in_logits_is_seen(loaded: LoadedModel) -> None:
    with torch.no_grad():
        loaded.model.lm_head.weight[7] = float("nan")
    assert not generation.generate(loaded, Generate(questions=QUESTIONS[:1], max_new_tokens=2)).finite


def test_digests_tell_logits_that_agree_in_their_tokens_alone(loaded: LoadedModel) -> None:
    request = Generate(questions=QUESTIONS, max_new_tokens=8, with_digests=True)
    first, again = (generation.generate(loaded, request).completions for _ in range(2))
    assert [one.logits_sha256 for one in first] == [one.logits_sha256 for one in again]
    assert len({one.logits_sha256 for one in first}) == len(QUESTIONS)

    layer = loaded.model.model.layers[0]
    layer.register_forward_hook(lambda _, __, output: output * (1 + 0.01 * torch.randn_like(output)))
    noisy, other = (generation.generate(loaded, request).completions for _ in range(2))
    assert [one.token_ids for one in noisy] == [one.token_ids for one in other], "the noise shows in the tokens"
    assert not {one.logits_sha256 for one in noisy} & {one.logits_sha256 for one in other}


def test_nobody_pays_for_digests_unasked(loaded: LoadedModel) -> None:
    answer = generation.generate(loaded, Generate(questions=QUESTIONS[:1], max_new_tokens=1))
    assert answer.completions[0].logits_sha256 is None


def test_cache_agrees_and_a_stale_one_does_not(loaded: LoadedModel) -> None:
    request = CompareCache(questions=QUESTIONS[:3], new_tokens=5)
    sound = generation.compare_cache(loaded, request)
    assert sound.divergence < limit("cache_divergence") / 2
    assert sound.positions == 15

    forward = loaded.model.forward

    def forgets(*args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        return forward(*args, past_key_values=None, **kwargs)

    loaded.model.forward = forgets
    assert generation.compare_cache(loaded, request).divergence > 3 * limit("cache_divergence")


RECURRENT: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "lru_width": 64,
}
"""Two layers with states of their own, and one with keys and values."""
IDS = ((5, 6, 7, 8), (9, 10, 11))


def of_class(model: torch.nn.Module) -> LoadedModel:
    """A model alone, asked for ids of tokens."""
    return cast("LoadedModel", SimpleNamespace(model=model.eval()))


def test_a_class_that_gives_no_cache_is_handed_one_as_generate_does() -> None:
    torch.manual_seed(0)
    model = transformers.RecurrentGemmaForCausalLM(transformers.RecurrentGemmaConfig(**RECURRENT))
    request = CompareCache(questions=IDS, new_tokens=5)
    assert generation.takes_cache(model)
    assert generation.compare_cache(of_class(model), request).divergence < 1e-4

    for layer in model.model.layers[:2]:  # its states are lost from one token to the next
        layer.register_forward_pre_hook(lambda part, _: part.temporal_block._setup_cache(1, "cpu", torch.float32))
    assert generation.compare_cache(of_class(model), replace(request, questions=IDS[:1])).divergence > 0.01


def test_a_class_that_should_keep_a_cache_and_keeps_none_is_no_class_without() -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=128, num_hidden_layers=1, **sizes))
    attention = model.model.layers[0].self_attn
    attention.register_forward_pre_hook(lambda _, __, given: ((), {**given, "past_key_values": None}), with_kwargs=True)
    forward = model.forward
    model.forward = lambda **given: CausalLMOutput(logits=forward(**given).logits)
    assert generation.takes_cache(model)
    with pytest.raises(ValueError, match="gave none, and left the one that it was handed empty"):
        generation.compare_cache(of_class(model), CompareCache(questions=IDS, new_tokens=3))


def test_a_class_that_takes_no_cache_is_known_by_its_forward() -> None:
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 128}
    assert not generation.takes_cache(transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**sizes)))


def test_batch_agrees_and_an_unmasked_one_does_not(loaded: LoadedModel) -> None:
    request = CompareBatch(questions=QUESTIONS)
    assert generation.compare_batch(loaded, request).divergence < limit("batch_divergence") / 2

    forward = loaded.model.forward

    def sees_padding(*args: Any, attention_mask: torch.Tensor, **kwargs: Any) -> Any:
        return forward(*args, attention_mask=torch.ones_like(attention_mask), **kwargs)

    loaded.model.forward = sees_padding
    assert generation.compare_batch(loaded, request).divergence > limit("batch_divergence")


def test_nan_never_agrees(loaded: LoadedModel) -> None:
    with torch.no_grad():
        loaded.model.lm_head.weight[7] = float("nan")
    agreement = generation.compare_batch(loaded, CompareBatch(questions=QUESTIONS[:2]))
    assert agreement.divergence != agreement.divergence


def test_score_compares_with_what_was_saved(loaded: LoadedModel, tmp_path: Path) -> None:
    path = str(tmp_path / "reference.safetensors")
    saved = generation.score(loaded, Score(questions=QUESTIONS, answers=ANSWERS, save_to=path))
    assert saved.mean_kl is None
    same = generation.score(loaded, Score(questions=QUESTIONS, answers=ANSWERS, compare_with=path))
    assert same.mean_kl == pytest.approx(0.0, abs=1e-6)
    assert same.same_choice == 1.0
    with torch.no_grad():
        loaded.model.lm_head.weight.mul_(0.5)
    flat = generation.score(loaded, Score(questions=QUESTIONS, answers=ANSWERS, compare_with=path))
    assert flat.mean_kl is not None
    assert flat.mean_kl > 0.05
    with pytest.raises(ValueError, match="the logits of other texts"):
        generation.score(loaded, Score(questions=QUESTIONS[:2], answers=ANSWERS[:2], compare_with=path))


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ([1, 2] * 4, 1.0),
        ([5] * 10, 1.0),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], 0.0),
        ([1, 2, 3, 1, 4, 5, 1, 6, 7, 8], 0.0),
        ([9, 8, 7, 1, 2, 3, 1, 2, 3], 6 / 9),
        ([1, 1, 1], 0.0),
        ([], 0.0),
    ],
)
def test_repetition_is_the_share_of_the_longest_loop(tokens: list[int], share: float) -> None:
    assert repetition(tokens) == pytest.approx(share)


def test_answers_are_compared_without_case_and_white_space() -> None:
    assert answered(" The Tide ", ("the tide",))
    assert not answered("the tides", ("the tide",))
    assert not answered("", ("the tide",))
