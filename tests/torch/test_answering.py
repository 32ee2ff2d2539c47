"""Answers with the probability of each token: held against one plain pass over the same tokens, and against faults."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from plimsoll.catalogue.entries import Dataset, Quantization
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.dataset.files import read_miniature
from plimsoll.dataset.prompting import render
from plimsoll.host.protocol import Answer, AnswerPrompts
from plimsoll.host.server import answering
from plimsoll.host.server.generation import question_ids
from plimsoll.host.server.loading import LoadedModel, load
from tests.support.broken_checkpoints import shipped
from tests.support.random_checkpoints import load_spec

SQUAD: Dataset = read_catalogue().datasets["squad"]
TAUGHT = read_miniature(SQUAD, SQUAD.shots_split).examples
PROMPTS = tuple(render(SQUAD, example) for example in TAUGHT[:9])
GOLDS = tuple(example.answer for example in TAUGHT[:9])


def fresh(trained: dict[str, Path]) -> LoadedModel:
    spec = load_spec(trained["tiny-llama"], "llama", Quantization.FP32, generation=shipped("tiny-llama").generation)
    return load(spec, "as-is")


@pytest.fixture(scope="module")
def loaded(trained: dict[str, Path]) -> LoadedModel:
    return fresh(trained)


def ask(loaded: LoadedModel, *prompts: str, stop: str = "\n", most: int = 16, **more: int) -> tuple[Answer, ...]:
    return answering.answer(loaded, AnswerPrompts(prompts=prompts, max_new_tokens=most, stop=stop, **more)).answers


def log_probs_of(loaded: LoadedModel, prompt: str, tokens: tuple[int, ...]) -> list[float]:
    """What one pass without a cache and without a batch says of the same tokens."""
    asked = question_ids(loaded, prompt)
    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.tensor([[*asked, *tokens]]), use_cache=False).logits[0].float()
    rows = logits[len(asked) - 1 : -1].log_softmax(-1)
    return [float(row[token]) for row, token in zip(rows, tokens, strict=True)]


def test_each_token_has_the_probability_that_a_plain_pass_gives_it(loaded: LoadedModel) -> None:
    answers = ask(loaded, *PROMPTS, batch_size=4)
    assert [answer.text for answer in answers] == list(GOLDS)
    assert len({answer.prompt_tokens for answer in answers}) > 3, "prompts of one length leave the padding untested"
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert answer.log_probs == pytest.approx(log_probs_of(loaded, prompt, answer.token_ids), abs=2e-4)


def test_the_end_token_is_among_them_and_the_pieces_make_the_text(loaded: LoadedModel) -> None:
    for answer in ask(loaded, *PROMPTS):
        assert answer.ended
        assert answer.token_ids[-1] in loaded.model.generation_config.eos_token_id
        assert answer.pieces[-1] == ""
        assert "".join(answer.pieces).strip() == answer.text
        assert len(answer.pieces) == len(answer.token_ids) == len(answer.log_probs)


def test_an_answer_that_reaches_the_limit_has_not_ended(loaded: LoadedModel) -> None:
    long = next(place for place, gold in enumerate(GOLDS) if gold == "boxes of tea")
    (answer,) = ask(loaded, PROMPTS[long], most=2)
    assert (answer.ended, len(answer.token_ids)) == (False, 2)


def test_a_stop_text_ends_its_own_row_and_is_cut_off(loaded: LoadedModel) -> None:
    long = next(place for place, gold in enumerate(GOLDS) if gold == "boxes of tea")
    other = next(place for place, gold in enumerate(GOLDS) if " of " not in gold and len(gold) > 4)
    stopped, whole = ask(loaded, PROMPTS[long], PROMPTS[other], stop=" of")
    assert (stopped.text, stopped.ended) == ("boxes", True)
    assert "".join(stopped.pieces) == "boxes of"
    assert whole.text == GOLDS[other]
    assert len(stopped.log_probs) == len(stopped.token_ids) < 6


def test_batches_do_not_change_the_order_of_the_answers(loaded: LoadedModel) -> None:
    backwards = ask(loaded, *reversed(PROMPTS), batch_size=2)
    assert [answer.text for answer in backwards] == list(reversed(GOLDS))


def test_nan_is_seen(trained: dict[str, Path], loaded: LoadedModel) -> None:
    broken = fresh(trained)
    with torch.no_grad():
        broken.model.lm_head.weight[7] = float("nan")
    request = AnswerPrompts(prompts=PROMPTS[:1], max_new_tokens=2, stop="\n")
    assert [one.finite for one in answering.answer(broken, request).answers] == [False]
    assert [one.finite for one in answering.answer(loaded, request).answers] == [True]


UNKNOWN = "Who would know this, and why?"


def test_drawn_answers_are_as_probable_as_a_plain_pass_says(loaded: LoadedModel) -> None:
    (answer,) = ask(loaded, UNKNOWN, samples=6, most=4)
    assert len(answer.samples) == 6
    assert len({sample.text for sample in answer.samples}) > 1, "nothing was drawn at random"
    assert all(sample.log_prob < 0 and 1 <= sample.tokens <= 4 for sample in answer.samples)
    # One token at a time, the log-probability of a drawn answer is that of its only token.
    (single,) = ask(loaded, UNKNOWN, samples=40, most=1)
    asked = question_ids(loaded, UNKNOWN)
    with torch.inference_mode():
        row = loaded.model(input_ids=torch.tensor([asked]), use_cache=False).logits[0, -1].float().log_softmax(-1)
    known = {round(float(value), 3) for value in row}
    assert {round(sample.log_prob, 3) for sample in single.samples} <= known
    mass = sum({round(sample.log_prob, 3): math.exp(sample.log_prob) for sample in single.samples}.values())
    assert mass > 0.2, "forty draws should meet what is probable"


def test_what_is_drawn_depends_on_the_seed_and_not_on_the_neighbours(loaded: LoadedModel) -> None:
    (alone,) = ask(loaded, UNKNOWN, samples=5)
    *_, among = ask(loaded, *PROMPTS, UNKNOWN, samples=5)
    (other,) = ask(loaded, UNKNOWN, samples=5, seed=1)
    assert alone.samples == among.samples
    assert alone.samples != other.samples
