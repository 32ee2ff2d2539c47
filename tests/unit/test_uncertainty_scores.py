"""Scores of answers: by hand, by their properties, and against the three errors of the public implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.evidence.answers import AnswerRecord, SampledAnswer
from plimsoll.uncertainty.relevance import LexicalSimilarity, Pair, relevances
from plimsoll.uncertainty.scores import (
    TokenScore,
    Uncertainty,
    g_nll,
    mean_nll,
    perplexity,
    rw_g_nll,
    token_losses,
    uncertainty,
)
from tests.support.made_answers import answer

LOSSES = st.lists(st.floats(0.0, 50.0), min_size=1, max_size=12)


class Given:
    """A similarity that says what it was told, one number a pair."""

    name = "given"

    def __init__(self, *values: float) -> None:
        self.values = values
        self.pairs: list[Pair] = []

    def similarities(self, pairs: Sequence[Pair]) -> list[float]:
        self.pairs = list(pairs)
        return list(self.values[: len(pairs)])


def weighted(one: AnswerRecord, *similarities: float) -> float:
    [relevance] = relevances([one], Given(*similarities))
    found = uncertainty(one, TokenScore.RW_G_NLL, samples=0, relevance=relevance)
    assert found.value is not None, found.reason
    return found.value


def value(one: AnswerRecord, score: TokenScore, *, samples: int = 0, with_end: bool = True) -> float | None:
    return uncertainty(one, score, samples=samples, with_end=with_end).value


def test_every_score_of_one_answer_by_hand() -> None:
    one = answer((-0.5, -0.25, -0.125))
    assert value(one, TokenScore.G_NLL) == pytest.approx(0.875)
    assert value(one, TokenScore.MEAN_NLL) == pytest.approx(0.875 / 3)
    assert value(one, TokenScore.PERPLEXITY) == pytest.approx(math.exp(0.875 / 3))
    drawn = (SampledAnswer(text="a", log_prob=-1.0, tokens=2), SampledAnswer(text="b", log_prob=-4.0, tokens=2))
    assert value(replace(one, samples=drawn), TokenScore.PREDICTIVE_ENTROPY, samples=2) == pytest.approx(2.5)
    # R = (0.4, 0.1), none for the end: shares 0.8 and 0.2.
    assert weighted(one, 0.6, 0.9) == pytest.approx(0.8 * 0.5 + 0.2 * 0.25)


def test_the_end_counts_unless_it_is_left_out() -> None:
    one = answer((-0.5, -0.25, -0.125))
    assert value(one, TokenScore.G_NLL, with_end=False) == pytest.approx(0.75)
    assert value(one, TokenScore.MEAN_NLL, with_end=False) == pytest.approx(0.375)
    cut = replace(one, ended=False)
    assert value(cut, TokenScore.G_NLL, with_end=False) == value(cut, TokenScore.G_NLL) == pytest.approx(0.875)


def test_no_score_is_a_reason_and_never_a_zero() -> None:
    empty = answer(())
    assert uncertainty(empty, TokenScore.G_NLL, samples=0) == Uncertainty(value=None, reason="the answer has no tokens")
    only_end = answer((-0.5,))
    assert value(only_end, TokenScore.G_NLL) == 0.5
    left_out = uncertainty(only_end, TokenScore.MEAN_NLL, samples=0, with_end=False)
    assert left_out == Uncertainty(value=None, reason="the answer has no tokens beside its end")
    none = uncertainty(answer(), TokenScore.PREDICTIVE_ENTROPY, samples=0)
    assert (none.value, none.reason) == (None, "no answers were drawn at random: the run asked for none")
    some = replace(answer(), samples=(SampledAnswer(text="a", log_prob=-1.0, tokens=1),))
    few = uncertainty(some, TokenScore.PREDICTIVE_ENTROPY, samples=5)
    assert (few.value, few.reason) == (None, "1 of 5 answers were drawn at random")
    unweighted = uncertainty(answer(), TokenScore.RW_G_NLL, samples=0)
    assert (unweighted.value, unweighted.reason) == (None, "no relevance of its tokens was computed")


@pytest.mark.parametrize("wrong", [math.nan, -math.inf, math.inf, 0.5])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    found = uncertainty(answer((-0.5, wrong)), TokenScore.G_NLL, samples=0)
    assert found.value is None
    assert found.reason == f"the log-probability of token 1 is {wrong:g}, which is none"
    drawn = replace(answer(), samples=(SampledAnswer(text="a", log_prob=wrong, tokens=1),))
    assert value(drawn, TokenScore.PREDICTIVE_ENTROPY, samples=1) is None


def test_a_probability_a_little_above_one_by_rounding_is_one() -> None:
    assert value(answer((-0.5, 1e-6)), TokenScore.G_NLL) == pytest.approx(0.5, abs=1e-5)


@given(LOSSES, st.data())
def test_weighting_stays_between_the_least_and_the_largest_loss(losses: list[float], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.0, 1.0), min_size=len(losses), max_size=len(losses)))
    found = rw_g_nll(losses, weights)
    assert min(losses) - 1e-9 <= found <= max(losses) + 1e-9


@given(LOSSES, st.floats(0.01, 1.0))
def test_equal_weights_give_the_mean(losses: list[float], weight: float) -> None:
    assert rw_g_nll(losses, [weight] * len(losses)) == pytest.approx(mean_nll(losses))


@given(LOSSES)
def test_the_sum_the_mean_and_the_perplexity_agree(losses: list[float]) -> None:
    assert g_nll(losses) == pytest.approx(mean_nll(losses) * len(losses))
    assert math.log(perplexity(losses)) == pytest.approx(mean_nll(losses), abs=1e-9)


def test_a_perplexity_beyond_all_numbers_is_infinite() -> None:
    assert perplexity([1e6]) == math.inf


def test_similarities_are_not_divided_by_five() -> None:
    # Divided by 5, relevances of 0.9 and 0.1 would become 0.98 and 0.82: nearly equal, so nearly the mean.
    one = answer((-3.0, -1.0, -0.5))
    true = weighted(one, 0.1, 0.9)
    assert true == pytest.approx(0.9 * 3.0 + 0.1 * 1.0)
    collapsed = rw_g_nll(token_losses(one)[:2], [1 - 0.1 / 5, 1 - 0.9 / 5])
    assert collapsed == pytest.approx(mean_nll([3.0, 1.0]), abs=0.1)
    assert true - collapsed > 0.7


def test_no_relevance_at_all_weighs_all_tokens_alike_on_the_same_scale() -> None:
    one = answer((-3.0, -1.0, -0.5))
    assert weighted(one, 1.0, 1.0) == pytest.approx(1.5)  # the unnormalised sum would be 4.5, or 0
    assert weighted(answer((-3.0,))) == pytest.approx(3.0)


def test_every_answer_keeps_its_row_whatever_its_number_of_tokens() -> None:
    many = [answer(tuple([-0.5] * count)) for count in (1, 2, 3, 7)]
    found = relevances(many, LexicalSimilarity())
    assert [len(weights) for weights in found] == [1, 2, 3, 7]
    for one, weights in zip(many, found, strict=True):
        assert uncertainty(one, TokenScore.RW_G_NLL, samples=0, relevance=weights).value is not None


def test_weights_that_do_not_fit_are_a_reason() -> None:
    found = uncertainty(answer(), TokenScore.RW_G_NLL, samples=0, relevance=(0.5,))
    assert found == Uncertainty(value=None, reason="1 weights for 3 tokens")


def test_relevance_asks_for_the_question_with_the_answer_and_without_each_token() -> None:
    similarity = Given(0.5, 0.75)
    one = answer((-1.0, -1.0, -1.0), pieces=(" Par", "is", "</s>"), text="Paris")
    assert relevances([one], similarity) == [(0.5, 0.25, 0.0)]
    question = "What is the capital of France?"
    assert similarity.pairs == [(f"{question}  Paris", f"{question} is"), (f"{question}  Paris", f"{question}  Par")]


def test_an_answer_that_was_cut_short_has_no_ending_token_to_leave_out() -> None:
    one = answer((-1.0, -1.0), pieces=(" Par", "is"), ended=False)
    assert relevances([one], Given(0.5, 0.75)) == [(0.5, 0.25)]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_a_similarity_outside_of_its_range_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="not 0 to 1"):
        relevances([answer()], Given(0.5, wrong))


def test_lexical_similarity_counts_shared_words() -> None:
    alike = LexicalSimilarity().similarities
    assert alike([("the red cat", "The cat"), ("a b", "c d"), ("", ""), ("!", "?"), ("a a b", "a b b")]) == (
        pytest.approx([0.8, 0.0, 1.0, 0.0, 2 / 3])
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_lexical_similarity_is_a_similarity(one: str, other: str) -> None:
    [there, back, itself] = LexicalSimilarity().similarities([(one, other), (other, one), (one, one)])
    assert 0.0 <= there <= 1.0
    assert there == back
    assert itself == 1.0


def test_lexically_a_word_matters_and_punctuation_does_not() -> None:
    example = Example(id="q", question="Who?", context="", kind=AnswerKind.TEXT, golds=(("Ada",),))
    one = answer((-1.0,) * 4, pieces=(" Ada", " Lovelace", ".", "\n"), example=example)
    [(ada, lovelace, stop, end)] = relevances([one], LexicalSimilarity())
    assert ada == pytest.approx(0.2)
    assert lovelace == pytest.approx(0.2)
    assert (stop, end) == (0.0, 0.0)
