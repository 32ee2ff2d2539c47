"""SQuAD v2: a passage, a question and the spans that answer it, none where the passage does not.

The Hub's rows have `answers.text` and `answers.answer_start` as two lists; the official file has a list of answers, and
says in `is_impossible` what an empty one means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.fields import Fields, said


def read(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault."""
    question, context = fields.text("question"), fields.text("context")
    own_id = fields.text("id", optional=True)
    answers = _answers(fields)
    if question is None or context is None or answers is None or not _agrees(fields, answers):
        return None
    for answer in answers:
        if answer not in context:
            fields.fault("answers", f"has {said(answer)}, which is not in the context")
            return None
    distinct = tuple(dict.fromkeys(answers))
    return Example(
        id=own_id or number,
        question=question,
        context=context,
        kind=AnswerKind.TEXT if distinct else AnswerKind.UNANSWERABLE,
        golds=(distinct,) if distinct else (),
    )


def _answers(fields: Fields) -> tuple[str, ...] | None:
    """The texts of the answers; empty where there are none, None where the field is not in order."""
    found = fields.required("answers")
    if found is None:
        return None
    if isinstance(found[1], Mapping):
        return _of_lists(fields)
    answers = [(one.text("text"), _start(one)) for one in fields.children("answers")]
    texts = tuple(text for text, in_order in answers if text is not None and in_order)
    in_order = isinstance(found[1], list | tuple) and len(texts) == len(found[1])
    return texts if in_order else None


def _of_lists(fields: Fields) -> tuple[str, ...] | None:
    answers = fields.child("answers")
    if answers is None:
        return None
    texts, starts = answers.texts("text"), answers.required("answer_start")
    if texts is None or starts is None:
        return None
    if not isinstance(starts[1], list | tuple) or not all(map(_is_place, starts[1])):
        answers.fault("answer_start", f"is {said(starts[1])}, where a list of places in the context belongs")
        return None
    if len(starts[1]) != len(texts):
        answers.fault("text", f"has {len(texts)} texts that are not empty, and answer_start {len(starts[1])} places")
        return None
    return texts


def _start(answer: Fields) -> bool:
    found = answer.required("answer_start")
    if found is not None and not _is_place(found[1]):
        answer.fault("answer_start", f"is {said(found[1])}, where a place in the context belongs")
    return found is not None and _is_place(found[1])


def _is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _agrees(fields: Fields, answers: tuple[str, ...]) -> bool:
    """Whether what the row says of itself is so; the Hub's rows, and those of SQuAD v1, say nothing."""
    found = fields.raw("is_impossible")
    if found is None:
        return True
    if not isinstance(found[1], bool):
        fields.fault("is_impossible", f"is {said(found[1])}, where true or false belongs")
        return False
    if found[1] == bool(answers):
        fields.fault(
            "answers",
            "is empty, and is_impossible is false" if not answers else "has answers, and is_impossible is true",
        )
        return False
    return True
