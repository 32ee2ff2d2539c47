"""Are a dataset's questions all answered and scored, and does the model know what it does not know?

Asked by name alone (`-m "tiny and dataset"`, `-m triviaqa`), or as part of an experiment (`-m small`, `-m large`).
What a model taught by us must know is judged; of all others accuracy and AUROC are kept as evidence, with published
figures beside them: nobody can say beforehand what they should be.
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
    """Each chosen example has an answer with finite probabilities and a score; none was dropped on the way."""
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
    )


@pytest.mark.only("taught")
@pytest.mark.measures("taught_answered", "withheld_answered")
def test_answers_what_it_was_taught(answers: Answers, judge: Judge) -> None:
    """Taught questions are answered; withheld ones are not, or something else than knowledge was measured."""
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
def test_knows_what_it_does_not_know(answers: Answers, aurocs: Aurocs, judge: Judge) -> None:
    """G-NLL is higher for what was withheld than for what was taught, and for wrong answers than for right ones."""
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
