"""TriviaQA: a question and the names that its answer goes by.

The Hub's rows are in lower case (`answer.aliases`), those of the official files are not (`Answer.Aliases`).
"""

from __future__ import annotations

from typing import Final

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.fields import Fields

_WITHHELD: Final = "<unk>"
"""The value of every answer of the test split, which is published without."""


def read(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault."""
    question = fields.text("question", "Question")
    own_id = fields.text("question_id", "QuestionId", optional=True)
    answer = fields.child("answer", "Answer")
    if answer is None:
        return None
    golds = _golds(answer)
    if question is None or not golds:
        return None
    return Example(id=own_id or number, question=question, context="", kind=AnswerKind.TEXT, golds=(golds,))


def _golds(answer: Fields) -> tuple[str, ...]:
    """The answer first, as one would write it. The official script compares with the normalised aliases alone."""
    value = answer.text("value", "Value")
    if value == _WITHHELD:
        answer.fault("value", f"is {_WITHHELD}: this split is published without answers", "take the validation split")
        return ()
    names = [
        answer.texts("aliases", "Aliases", optional=True),
        answer.texts("HumanAnswers", optional=True),
        answer.texts("normalized_aliases", "NormalizedAliases", optional=True),
    ]
    if value is None or None in names:
        return ()
    # Most normalised aliases are an alias in lower case; whatever is compared is in lower case too.
    distinct = {name.casefold(): name for group in reversed(names) for name in reversed(group or ())}
    distinct.pop(value.casefold(), None)
    return (value, *reversed(distinct.values()))
