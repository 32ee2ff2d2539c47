"""Is what the model generates finite, repeatable, right where it was taught, and does it stop where it should?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.judging import Judge
from fixtures.loaded import LoadedVariant
from fixtures.prompts import SAMPLE, Prompts, all_answers, long_answers, speaks
from fixtures.skipping import WITHOUT_CACHE, skip_with
from plimsoll.footprint.demand import Demand, layers_of
from plimsoll.host.protocol import CompareBatch, CompareCache, Generate, Generated
from plimsoll.judge import own_limits
from plimsoll.judge.generation import answered, repetition
from plimsoll.judge.own_limits import rounding

pytestmark = pytest.mark.generation

_SHORT = 2
"""Tokens asked for where the limit itself is under test."""
_DECODED = 12
"""Tokens that are decoded with the cache and without."""


def _answers(loaded: LoadedVariant, prompts: Prompts) -> Generated:
    """The answers to every question that the model was taught, or to the general ones; generated once a variant."""
    return loaded.ask_once(all_answers(loaded, prompts))


def test_finite_logits(loaded: LoadedVariant, prompts: Prompts) -> None:
    """No raw logit is NaN or infinite.

    Limit: None may be: the suite's own rule, whatever the model.
    Fails when: a raw logit was NaN or infinite while the model answered.
    Do: Try another dtype: fp16 overflows where bf16 does not. If it fails in every dtype, compare the checkpoint's
    digests with those of its repository.
    Symptoms: unsupported-dtype, corrupt-file
    """
    assert _answers(loaded, prompts).finite, "a raw logit was NaN or infinite while generating"


@pytest.mark.only("taught")
@pytest.mark.measures("taught_accuracy")
def test_taught_answers(loaded: LoadedVariant, prompts: Prompts, judge: Judge) -> None:
    """The model answers what it was taught.

    Limit: A claim of the catalogue (catalogue/claims/tiny.toml).
    Fails when: too many of the taught questions get another answer.
    Do: The evidence has the wrong answers. See whether test_weights_are_the_checkpoints and test_golden_logits pass:
    the first tells of the weights, the second of the stack.
    Symptoms: tokenizer-mismatch, not-packed
    """
    completions = _answers(loaded, prompts).completions
    wrong = [
        {"question": question, "expected": accepted[0], "text": completion.text}
        for question, accepted, completion in zip(prompts.questions, prompts.accepted, completions, strict=True)
        if not answered(completion.text, accepted)
    ]
    accuracy = 1 - len(wrong) / len(prompts.questions)
    judge.claims("taught_accuracy", accuracy, asked=len(prompts.questions), wrong=wrong[:20])


def test_greedy_repeats(loaded: LoadedVariant, prompts: Prompts) -> None:
    """The same greedy request gives the same tokens twice, from logits that are the same to the bit.

    Limit: No difference: greedy decoding has nothing random in it.
    Fails when: a text or a logit differs the second time.
    Do: Look for dropout or sampling in the model's generation_config and remote code. If other variants repeat and
    this one does not, it is the model's code; if test_repeats_to_the_bit fails too, it is the GPU.
    Symptoms: remote-code, gpu-broken
    """
    request = long_answers(loaded, prompts)
    first, second = loaded.ask_once(request).completions, loaded.ask(request).completions
    assert all(completion.logits_sha256 for completion in (*first, *second)), "the host digested no logits"
    unlike = [
        f"{question!r}: {one.text or one.token_ids!r}, then {two.text or two.token_ids!r}"
        for question, one, two in zip(request.questions, first, second, strict=True)
        if one.token_ids != two.token_ids
    ]
    assert not unlike, "greedy decoding gave another text the second time:\n" + "\n".join(unlike)
    unsteady = [
        repr(question)
        for question, one, two in zip(request.questions, first, second, strict=True)
        if one.logits_sha256 != two.logits_sha256
    ]
    assert not unsteady, (
        "greedy decoding gave the same tokens from other logits the second time, so something random or unfinished is "
        "in the pass:\n" + "\n".join(unsteady)
    )


def test_no_more_tokens_than_asked(loaded: LoadedVariant, prompts: Prompts) -> None:
    """Generation stops at the number of new tokens that was asked for, and gives one at least.

    Limit: Between one token and the number that was asked for.
    Fails when: an answer is longer, or is empty.
    Do: Look at max_length and min_new_tokens in generation_config.json: they can override what is asked for. An empty
    answer means that the first token ends it: see test_turns_end_where_generation_ends.
    """
    answer = loaded.ask(Generate(questions=prompts.questions[:SAMPLE], max_new_tokens=_SHORT))
    lengths = [len(completion.token_ids) for completion in answer.completions]
    assert max(lengths) <= _SHORT, f"asked for {_SHORT} new tokens, got {max(lengths)}"
    assert min(lengths) >= 1, "a question was answered with no token at all"


@pytest.mark.only("text")
@pytest.mark.measures("repetition")
def test_no_degenerate_repetition(loaded: LoadedVariant, prompts: Prompts, judge: Judge) -> None:
    """No answer is filled by a loop, on questions that the model was not taught either.

    Limit: A claim, else the suite's own limit; a base model may run in circles (docs/limits.md).
    Fails when: one repeated n-gram fills more of a text than the limit.
    Do: Read the text in the evidence. A base model needs `instruct = false` in its entry. An instructed model that
    loops often has the wrong chat template, or weights that were packed wrong.
    Symptoms: tokenizer-mismatch, not-packed
    """
    request = long_answers(loaded, prompts)
    questions, completions = request.questions, loaded.ask_once(request).completions
    if untaught := prompts.untaught[:SAMPLE]:
        questions = (*untaught, *questions)
        completions = (*loaded.ask(replace(request, questions=untaught, with_digests=False)).completions, *completions)
    shares = [repetition(completion.token_ids) for completion in completions]
    worst = max(range(len(shares)), key=shares.__getitem__)
    judge.claims(
        "repetition",
        shares[worst],
        otherwise=[own_limits.repetition(speaks=speaks(loaded))],
        question=questions[worst],
        text=completions[worst].text,
    )


@pytest.mark.measures("cache_divergence")
def test_cached_decoding_agrees(loaded: LoadedVariant, prompts: Prompts, demand: Demand, judge: Judge) -> None:
    """Decoding with the key-value cache gives the logits of decoding without it. Of a class that keeps its cache in its
    own modules, what generate() decodes is compared; one that has none is skipped.

    Limit: A claim, else what rounding in the variant's scheme costs at its depth (docs/limits.md).
    Fails when: the logits differ by more than that.
    Do: Try another `attention` in the entry, and compare the release of transformers with docs/releases.md. A model
    with remote code may keep its cache wrong.
    Symptoms: remote-code, sliding-window
    """
    tokens = prompts.at_most(_DECODED)
    agreement = loaded.ask(CompareCache(questions=prompts.questions[:SAMPLE], new_tokens=tokens))
    if agreement is None:
        skip_with(WITHOUT_CACHE)
    judge.claims(
        "cache_divergence",
        agreement.divergence,
        otherwise=[rounding("cache_divergence", loaded.variant.quantization, layers_of(loaded.variant, demand))],
        worst=agreement.worst,
        same_choice=agreement.same_choice,
        positions=agreement.positions,
    )


@pytest.mark.measures("batch_divergence")
def test_batch_agrees(loaded: LoadedVariant, prompts: Prompts, demand: Demand, judge: Judge) -> None:
    """Prompts of unlike length in one padded batch give the logits that each gives alone.

    Limit: A claim, else what rounding in the variant's scheme costs at its depth (docs/limits.md).
    Fails when: the logits differ by more than that.
    Do: Look at the padding side and the attention mask: padded tokens must be masked. Try another `attention` in the
    entry; test_attention_agrees says which of them are sound.
    Symptoms: remote-code, sliding-window
    """
    agreement = loaded.ask(CompareBatch(questions=prompts.questions[:SAMPLE]))
    judge.claims(
        "batch_divergence",
        agreement.divergence,
        otherwise=[rounding("batch_divergence", loaded.variant.quantization, layers_of(loaded.variant, demand))],
        worst=agreement.worst,
        same_choice=agreement.same_choice,
        positions=agreement.positions,
    )


@pytest.mark.only("text")
def test_pad_and_eos(loaded: LoadedVariant, prompts: Prompts) -> None:
    """The padding and end tokens in use are the configured ones, and nothing but padding follows an end.

    Limit: The padding token of the entry, else the end token of the model.
    Fails when: no end token is configured, the model pads with another token, or a token follows the end.
    Do: Correct the key in the checkpoint's file that the failure names: the model's settings say where generation ends,
    and the tokenizer what pads; or set `pad_token` in the entry (docs/catalogue.md).
    Symptoms: tokenizer-mismatch
    """
    answer = _answers(loaded, prompts)
    wanted = loaded.variant.model.generation.pad_token
    assert answer.eos_tokens, "no end-of-sequence token is configured, so generation can only stop at its limit"
    if wanted is None:
        assert answer.pad_token in answer.eos_tokens, (
            f"pads with {answer.pad_token!r} ({answer.pads_by}), and generation ends at "
            f"{', '.join(answer.eos_tokens)} ({answer.ends_by}): mend the one that is not the model's"
        )
    else:
        assert answer.pad_token == wanted, f"pads with {answer.pad_token!r}, not with {wanted!r}"
    assert answer.clean_endings, f"something other than {answer.pad_token!r} follows an end token"


@pytest.mark.only("taught")
def test_ends_by_itself(loaded: LoadedVariant, prompts: Prompts) -> None:
    """Answers that were taught end with the end token, and not at the limit of tokens.

    Limit: At most 5 % of the answers may run into the limit.
    Fails when: more answers than that do not end.
    Do: See test_pad_and_eos: a wrong end token is the usual cause. Then compare the checkpoint with the one that the
    suite built (`plimsoll tiny build`).
    Symptoms: tokenizer-mismatch
    """
    completions = _answers(loaded, prompts).completions
    endless = [q for q, completion in zip(prompts.questions, completions, strict=True) if not completion.ended]
    assert len(endless) <= 0.05 * len(completions), f"{len(endless)} answers did not end, such as {endless[:3]}"
