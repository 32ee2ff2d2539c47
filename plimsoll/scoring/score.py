"""Scores an answer by the rules of its dataset and the kind of its question, and decides whether it is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from plimsoll.catalogue.entries import CorrectnessRule, DatasetSchema
from plimsoll.dataset.example import UNANSWERABLE, AnswerKind, Example
from plimsoll.errors import PlimsollError
from plimsoll.metrics import SCORES
from plimsoll.scoring.bioasq import factoid, listed, yes_no
from plimsoll.scoring.numbers import same_number
from plimsoll.scoring.words import NORMALISATIONS, Normalise, exact_match, f1, rouge_l, squad, with_words
from plimsoll.usertoml.suggest import did_you_mean

NO_ANSWER: Final = frozenset({"", UNANSWERABLE, "no answer"})
"""What counts as giving no answer to SQuAD v2, once normalised, and nothing longer: the word that prompts ask for, the
words of the official script, and saying nothing."""


def score(example: Example, answer: str, schema: DatasetSchema) -> Mapping[str, float]:
    """Score -> value from 0 to 1, those of `SCORES` that mean something for this kind of question.

    `exact_match`, `f1` and `rouge_l` are always among them. Raises PlimsollError where rouge-score is not installed.
    """
    normalise = NORMALISATIONS[schema]
    golds = _golds(example, normalise, schema)
    if schema is DatasetSchema.SQUAD_V2 or example.kind is AnswerKind.UNANSWERABLE:
        answer = _said(answer, golds)
    elif not answer.strip():
        return {**_of_nothing(), **_of_kind(example, answer, schema)}
    of_nothing = 0.0 if schema is DatasetSchema.TRIVIA_QA else 1.0
    scores = {
        "exact_match": max(exact_match(answer, gold, normalise) for gold in golds),
        "f1": max(f1(answer, gold, normalise, of_nothing=of_nothing) for gold in golds),
        "rouge_l": rouge_l(answer, golds),
    }
    return {**scores, **_of_kind(example, answer, schema)}


def _of_nothing() -> Mapping[str, float]:
    """An empty answer is wrong where there is one to give, also where a gold has no word left (`The The`)."""
    return {"exact_match": 0.0, "f1": 0.0, "rouge_l": 0.0}


def _golds(example: Example, normalise: Normalise, schema: DatasetSchema) -> tuple[str, ...]:
    """The texts that the answer as a whole is compared with."""
    if example.kind is AnswerKind.UNANSWERABLE:
        return ("",)
    if example.kind is AnswerKind.LIST:
        return (example.answer,)
    # SQuAD's script alone leaves out golds without a word.
    return with_words(example.golds[0], normalise) if schema is DatasetSchema.SQUAD_V2 else example.golds[0]


def _said(answer: str, golds: tuple[str, ...]) -> str:
    """The answer, empty where it says that there is none; a gold that is such a word is an answer."""
    words = squad(answer)
    is_a_gold = words != "" and words in map(squad, golds)
    return "" if words in NO_ANSWER and not is_a_gold else answer


def _of_kind(example: Example, answer: str, schema: DatasetSchema) -> Mapping[str, float]:
    if example.kind is AnswerKind.NUMBER:
        return {"numeric": float(any(same_number(answer, gold) for gold in example.golds[0]))}
    if example.kind is AnswerKind.YES_NO:
        return {"yes_no": yes_no(answer, example.golds[0][0])}
    if example.kind is AnswerKind.LIST:
        measures = listed(answer, example.golds)
        # Items in another order, or by their synonyms, are as good: words would not tell.
        return {**measures, "exact_match": float(measures["list_f1"] == 1), "f1": measures["list_f1"]}
    if example.kind is AnswerKind.TEXT and schema is DatasetSchema.BIOASQ:
        return factoid(answer, example.golds[0])
    return {}


def is_correct(rule: CorrectnessRule, scores: Mapping[str, float]) -> bool:
    """True where the score that the rule names reaches its bound.

    Raises PlimsollError for a name that no score has, and for a score that this answer does not have: a question that
    cannot be judged is neither right nor wrong.
    """
    if rule.metric not in SCORES:
        raise PlimsollError(
            f"the rule '{rule}' names no score: {rule.metric!r} is unknown; {did_you_mean(rule.metric, SCORES)}"
        )
    if rule.metric not in scores:
        raise PlimsollError(
            f"the rule '{rule}' cannot judge this answer, which has no such score; it has: {', '.join(sorted(scores))}"
        )
    return scores[rule.metric] >= rule.at_least
