"""SVAMP: a word problem of a story and a question, and the number that answers it.

The Hub has the number as a text (`8.0`), the official file as a number.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.fields import Fields, said


def read(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault. Its question is the story, which may be in the question already,
    and the question."""
    body, question = fields.text("Body", blank=True), fields.text("Question")
    own_id = fields.text("ID", optional=True)
    gold = _gold(fields)
    if body is None or question is None or gold is None:
        return None
    return Example(
        id=own_id or number,
        question=f"{body.strip()} {question.strip()}".strip(),
        context="",
        kind=AnswerKind.NUMBER,
        golds=((gold,),),
    )


def _gold(fields: Fields) -> str | None:
    """The number as one would write it: `8` for 8.0, `0.5` for .50."""
    found = fields.required("Answer")
    if found is None:
        return None
    name, value = found
    try:
        number = Decimal("NaN" if isinstance(value, bool) else str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    # Nobody asks for more digits, and an exponent would write them all out.
    if not number.is_finite() or number.adjusted() > 15 or number.adjusted() < -15:
        fields.fault(name, f"is {said(value)}, where a number belongs")
        return None
    return f"{number:f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"
