"""Which examples are asked, in what words, after which others, and that a fingerprint tells when anything changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.catalogue.entries import DatasetSchema
from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.prompting import MOST_SHOTS, Shots, choose, fingerprint, render
from plimsoll.errors import PlimsollError
from tests.support.examples import dataset_of

EXAMPLES = tuple(
    Example(id=f"q{n}", question=f"How much is {n}?", context="", kind=AnswerKind.TEXT, golds=((str(n),),))
    for n in range(40)
)

seeds = st.integers(min_value=0, max_value=10**6)


@given(count=st.integers(min_value=1, max_value=len(EXAMPLES)), seed=seeds)
def test_a_choice_has_its_size_and_no_example_twice(count: int, seed: int) -> None:
    chosen = choose(EXAMPLES, count, seed)
    assert len(set(chosen)) == len(chosen) == count
    assert set(chosen) <= set(EXAMPLES)


@given(
    fewer=st.integers(min_value=1, max_value=len(EXAMPLES)),
    more=st.integers(min_value=1, max_value=len(EXAMPLES)),
    seed=seeds,
)
def test_a_larger_choice_goes_on_where_a_smaller_one_ends(fewer: int, more: int, seed: int) -> None:
    fewer, more = sorted((fewer, more))
    assert choose(EXAMPLES, more, seed)[:fewer] == choose(EXAMPLES, fewer, seed)


@given(order=st.permutations(EXAMPLES), seed=seeds)
def test_a_choice_does_not_go_by_the_order_of_the_rows(order: list[Example], seed: int) -> None:
    assert choose(order, 7, seed) == choose(EXAMPLES, 7, seed)
    assert Shots(order, 3, seed).before(EXAMPLES[0]) == Shots(EXAMPLES, 3, seed).before(EXAMPLES[0])


def test_all_are_all_and_seeds_differ() -> None:
    assert set(choose(EXAMPLES, None, 0)) == set(EXAMPLES)
    assert len({choose(EXAMPLES, 10, seed) for seed in range(20)}) == 20
    assert choose(EXAMPLES, None, 0) != EXAMPLES
    assert choose((), None, 0) == ()


@pytest.mark.parametrize("count", [0, -1, 41])
def test_what_cannot_be_chosen_is_said(count: int) -> None:
    with pytest.raises(PlimsollError, match=rf"^cannot choose {count} of 40 examples; ask for 1 to 40, or all$"):
        choose(EXAMPLES, count, 0)


@given(count=st.integers(min_value=0, max_value=MOST_SHOTS), asked=st.sampled_from(EXAMPLES), seed=seeds)
def test_the_question_never_stands_before_itself(count: int, asked: Example, seed: int) -> None:
    shots = Shots(EXAMPLES, count, seed)
    before = shots.before(asked)
    assert len(set(before)) == count
    assert asked not in before
    under_another_id = replace(asked, id="validation-7")
    assert shots.before(under_another_id) == before
    same_id = replace(asked, question="Otherwise?")
    assert shots.before(same_id) == before


@given(seed=seeds)
def test_shots_are_the_same_for_all_questions_but_their_own(seed: int) -> None:
    shots = Shots(EXAMPLES, 4, seed)
    stranger = replace(EXAMPLES[0], id="other", question="Which?")
    usual = shots.before(stranger)
    for asked in EXAMPLES:
        kept = [shot for shot in usual if shot != asked]
        assert list(shots.before(asked))[: len(kept)] == kept
    assert Shots(EXAMPLES, 2, seed).before(stranger) == usual[:2]


def test_shots_do_not_follow_the_choice() -> None:
    # Where both come from one split, the shots must not be the first questions asked.
    stranger = replace(EXAMPLES[0], id="other", question="Which?")
    assert Shots(EXAMPLES, 5, 0).before(stranger) != choose(EXAMPLES, 5, 0)


def test_too_few_or_too_many_shots_are_said() -> None:
    for count in (-1, 6):
        with pytest.raises(PlimsollError, match=rf"^{count} few-shot examples cannot be had; ask for 0 to 5$"):
            Shots(EXAMPLES, count, 0)
    with pytest.raises(
        PlimsollError,
        match=r"^3 few-shot examples cannot be had of 3, without the question itself \(q1\); ask for fewer$",
    ):
        Shots(EXAMPLES[:3], 3, 0).before(EXAMPLES[1])


SQUAD = dataset_of(DatasetSchema.SQUAD_V2, prompt="{context}\n\nQuestion: {question}\nAnswer:")


def test_a_prompt_is_the_template_and_shots_show_their_answers() -> None:
    asked = Example(
        id="1",
        question=" Who {context}? ",
        context="A \\1 {question} passage.\n",
        kind=AnswerKind.TEXT,
        golds=(("x",),),
    )
    assert render(SQUAD, asked) == "A \\1 {question} passage.\n\nQuestion: Who {context}?\nAnswer:"
    listed = replace(asked, context="B", question="b", kind=AnswerKind.LIST, golds=(("one\ntwo", "2"), ("three",)))
    without = replace(asked, context="C", question="c", kind=AnswerKind.UNANSWERABLE, golds=())
    assert render(SQUAD, asked, [listed, without]) == (
        "B\n\nQuestion: b\nAnswer: one two, three\n\n"
        "C\n\nQuestion: c\nAnswer: unanswerable\n\n"
        "A \\1 {question} passage.\n\nQuestion: Who {context}?\nAnswer:"
    )


@given(question=st.text(min_size=1), context=st.text())
def test_any_text_stands_in_the_prompt_as_it_is(question: str, context: str) -> None:
    asked = replace(EXAMPLES[0], question=question, context=context)
    assert render(SQUAD, asked) == f"{context.strip()}\n\nQuestion: {question.strip()}\nAnswer:"


SETTINGS: dict[str, Any] = {"shots": 2, "seed": 0, "max_new_tokens": 8, "rule": {"metric": "f1", "at_least": 0.5}}
PROMPTS = [f"{example.question} é" for example in EXAMPLES[:3]]


def test_a_fingerprint_is_64_digits_that_depend_on_content_alone() -> None:
    known = fingerprint(PROMPTS, EXAMPLES[:3], SETTINGS)
    assert known == fingerprint(tuple(PROMPTS), list(EXAMPLES[:3]), dict(reversed(SETTINGS.items())))
    assert len(known) == 64
    assert int(known, 16) > 0


@pytest.mark.parametrize(
    ("prompts", "examples", "settings"),
    [
        (PROMPTS[::-1], EXAMPLES[:3], SETTINGS),
        ([*PROMPTS[:2], "How much is 2? "], EXAMPLES[:3], SETTINGS),
        (PROMPTS[:2], EXAMPLES[:2], SETTINGS),
        (PROMPTS, (*EXAMPLES[:2], replace(EXAMPLES[2], golds=(("2", "two"),))), SETTINGS),
        (PROMPTS, (*EXAMPLES[:2], replace(EXAMPLES[2], golds=(("2",), ("two",)))), SETTINGS),
        (PROMPTS, (*EXAMPLES[:2], replace(EXAMPLES[2], kind=AnswerKind.NUMBER)), SETTINGS),
        (PROMPTS, (*EXAMPLES[:2], replace(EXAMPLES[2], id="other")), SETTINGS),
        (PROMPTS, EXAMPLES[:3], {**SETTINGS, "shots": 3}),
        (PROMPTS, EXAMPLES[:3], {**SETTINGS, "rule": {"metric": "f1", "at_least": 0.4}}),
    ],
)
def test_a_fingerprint_changes_with_anything_that_matters(
    prompts: list[str], examples: tuple[Example, ...], settings: dict[str, Any]
) -> None:
    assert fingerprint(prompts, examples, settings) != fingerprint(PROMPTS, EXAMPLES[:3], SETTINGS)


def test_a_fingerprint_of_half_the_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        fingerprint(PROMPTS, EXAMPLES[:2], SETTINGS)
