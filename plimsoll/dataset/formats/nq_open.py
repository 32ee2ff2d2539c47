"""NQ-open: a question and a list of answers, each as good as the others. It has no ids."""

from __future__ import annotations

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.fields import Fields


def read(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault."""
    question, golds = fields.text("question"), fields.texts("answer")
    if golds == ():
        fields.fault("answer", "has no answer that is not empty")
    if question is None or not golds:
        return None
    distinct = tuple(dict.fromkeys(golds))
    return Example(id=number, question=question, context="", kind=AnswerKind.TEXT, golds=(distinct,))
