"""Generating and comparing on a trained checkpoint: what is sound agrees, and each planted fault shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.modeling_outputs import CausalLMOutput

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.host.protocol import Agreement, CompareBatch, CompareCache, Generate, Score
from plimsoll.host.server import caching, generation
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


def compared(loaded: LoadedModel, request: CompareCache) -> Agreement:
    """What is compared of a class that has a cache."""
    found = caching.compare_cache(loaded, request)
    assert found is not None
    return found


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
    sound = compared(loaded, request)
    assert sound.divergence < limit("cache_divergence") / 2
    assert sound.positions == 15

    forward = loaded.model.forward

    def forgets(*args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        return forward(*args, past_key_values=None, **kwargs)

    loaded.model.forward = forgets
    assert compared(loaded, request).divergence > 3 * limit("cache_divergence")


def test_a_pass_that_gives_no_cache_back_is_compared_by_what_generate_decodes(loaded: LoadedModel) -> None:
    request = CompareCache(questions=QUESTIONS[:3], new_tokens=5)
    forward = loaded.model.forward

    def withholds(*args: Any, **kwargs: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=forward(*args, **kwargs).logits)

    loaded.model.forward = withholds
    sound = compared(loaded, request)
    assert sound.divergence < limit("cache_divergence") / 2
    assert sound.positions == 15

    def forgets(*args: Any, past_key_values: Any = None, **kwargs: Any) -> CausalLMOutput:
        return withholds(*args, past_key_values=None, **kwargs)

    loaded.model.forward = forgets
    assert compared(loaded, request).divergence > 3 * limit("cache_divergence")


def test_a_class_with_a_cache_that_takes_the_whole_text_again_is_not_passed_over(loaded: LoadedModel) -> None:
    """generate() would decode without a cache, and agree with itself."""
    forward = loaded.model.forward

    def has_none(*args: Any, input_ids: torch.Tensor, **_: Any) -> CausalLMOutput:
        return CausalLMOutput(logits=forward(*args, input_ids=input_ids, use_cache=False).logits)

    loaded.model.forward = has_none
    loaded.model.prepare_inputs_for_generation = lambda ids, attention_mask=None, **_: {"input_ids": ids}
    with pytest.raises(caching.NoCacheError, match="was asked for a cache gave none"):
        caching.compare_cache(loaded, CompareCache(questions=QUESTIONS[:3], new_tokens=5))


def test_the_cache_is_compared_over_the_longest_question_in_every_row(loaded: LoadedModel) -> None:
    seen: list[torch.Tensor] = []
    forward = loaded.model.forward

    def watched(*args: Any, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        seen.append(input_ids)
        return forward(*args, input_ids=input_ids, **kwargs)

    loaded.model.forward = watched
    questions = ((3, 4, 5), (6, 7, 8, 9, 10, 11, 12, 13), (14,))
    caching.compare_cache(loaded, CompareCache(questions=questions, new_tokens=3))
    assert seen[0].tolist() == [[4, 5, 3, 4, 5, 3, 4, 5], [6, 7, 8, 9, 10, 11, 12, 13], [14] * 8]
    assert [tuple(ids.shape) for ids in seen[1:]] == [(3, 1), (3, 1), (3, 10)]


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


@pytest.mark.parametrize("part", ["lm_head", "model.norm"])
def test_a_model_that_tells_no_token_from_another_is_named_for_that(loaded: LoadedModel, part: str) -> None:
    with torch.no_grad():
        loaded.model.get_submodule(part).weight.zero_()
    said = r"the model gives every token the same logit, at each of \d positions"
    with pytest.raises(PlimsollError, match=said):
        caching.compare_cache(loaded, CompareCache(questions=QUESTIONS[:2], new_tokens=3))
    with pytest.raises(PlimsollError, match=said):
        generation.compare_batch(loaded, CompareBatch(questions=QUESTIONS[:2]))


def test_only_one_side_that_tells_no_token_from_another_differs() -> None:
    reference = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    assert generation.agreement_of([(torch.zeros(4, 300), reference)]).divergence > 1
    reference[2:] = 0
    assert generation.agreement_of([(reference, reference)]).divergence == 0


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
