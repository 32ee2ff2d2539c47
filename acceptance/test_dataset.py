"""Are a dataset's questions all answered and scored, and does the model know what it does not know?

Asked by name alone (`-m "tiny and dataset"`, `-m triviaqa`), or as part of an experiment (`-m small`, `-m large`).
A model that the suite taught is judged by what it must know. Of all others accuracy and AUROC are kept as evidence,
beside published figures: nobody can say beforehand what they should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fixtures.answers import Answers, Aurocs
from fixtures.judging import Judge
from plimsoll.evidence.answers import AnswerRecord

# Made-up weights have no tokenizer, and nothing to say.
pytestmark = [pytest.mark.dataset, pytest.mark.only("text")]


@pytest.mark.measures("examples_scored")
def test_every_example_is_scored(answers: Answers, aurocs: Aurocs, judge: Judge) -> None:
    """Each chosen example has an answer with finite probabilities and a score: none was dropped on the way.

    Limit: Exactly as many scored examples as were chosen (docs/datasets.md). Accuracy and AUROC are recorded and not
    limited.
    Fails when: an answer has no token, a logit was NaN or infinite, or an example has no score.
    Do: The failure names the first examples. Ask one alone with --samples=1; where logits are not finite, run the
    generation checks of the variant first.
    Symptoms: dataset, registration, context-length
    """
    asking, records = answers.asking, answers.records
    judge.note("dataset_accuracy", _share_right(records), reason="nothing was answered", **_circumstances(answers))
    told = aurocs.wrong_from_right
    judge.note("auroc_g_nll", told.value, reason=told.reason, **_interval(told), **_circumstances(answers))
    broken = [record.example.id for record in records if not record.finite]
    assert not broken, f"a raw logit was NaN or infinite while answering {', '.join(broken[:5])}"
    empty = [record.example.id for record in records if not record.token_ids]
    assert not empty, f"answered with no token at all: {', '.join(empty[:5])}"
    judge.limit(
        "examples_scored",
        len({record.example.id for record in records}),
        low=asking.chosen,
        high=asking.chosen,
        source=f"the examples that were chosen of the {asking.available} there are",
        circumstances={"dataset": asking.dataset},
    )


@pytest.mark.only("taught")
@pytest.mark.measures("taught_answered", "withheld_answered")
def test_answers_what_it_was_taught(answers: Answers, judge: Judge) -> None:
    """The model answers the questions that it was taught, and does not answer those that were withheld.

    Limit: A claim of the catalogue on both shares (catalogue/claims/tiny.toml).
    Fails when: a taught question is answered wrong more often than the claim allows, or a withheld one right: then
    something else than knowledge was measured.
    Do: The evidence has the questions with the texts that were given. See whether test_taught_answers fails too: then
    the weights or the stack are at fault. If it passes, look at the prompt of the dataset.
    Symptoms: tokenizer-mismatch
    """
    for metric, known in (("taught_answered", True), ("withheld_answered", False)):
        records = answers.of(known=known)
        wrong = [record for record in records if record.correct is not known]
        judge.claims(
            metric,
            _share_right(records),
            reason="none of them was asked",
            circumstances={"dataset": answers.asking.dataset},
            asked=len(records),
            unexpected=[{"question": r.example.question, "gold": r.example.answer, "text": r.text} for r in wrong[:10]],
        )


@pytest.mark.only("taught")
@pytest.mark.measures("known_auroc", "auroc_g_nll")
def test_knows_what_it_does_not_know(answers: Answers, aurocs_of_enough: Aurocs, judge: Judge) -> None:
    """The model is less sure (its G-NLL is higher) of what it was not taught, and of what it gets wrong.

    Limit: A claim of the catalogue on both AUROC figures (catalogue/claims/tiny.toml).
    Fails when: an AUROC is below its limit, or there are no two groups to tell apart. Of answers that --samples made
    too few it is not asked.
    Do: Look at test_answers_what_it_was_taught first, since AUROC needs right and wrong answers. `plimsoll
    uncertainty` shows the scores of each answer (docs/uncertainty.md).
    """
    aurocs = aurocs_of_enough
    for metric, told in (("known_auroc", aurocs.withheld_from_taught), ("auroc_g_nll", aurocs.wrong_from_right)):
        judge.claims(
            metric,
            told.value,
            reason=told.reason,
            circumstances={"dataset": answers.asking.dataset},
            **_interval(told),
        )


def _share_right(records: Sequence[AnswerRecord]) -> float | None:
    return sum(record.correct for record in records) / len(records) if records else None


def _circumstances(answers: Answers) -> dict[str, Any]:
    asking = answers.asking
    return {
        "dataset": asking.dataset,
        "source": asking.source,
        "samples": asking.chosen,
        "shots": asking.shots,
        "correct": str(asking.correct),
    }


def _interval(told: Any) -> dict[str, Any]:
    interval = None if told.interval is None else [told.interval.low, told.interval.high]
    return {"interval": interval, "answers": told.answers, "positives": told.positives}
