"""Reads a row of each official format: what its fields hold, as the Hub lays them out and as the official files do.

- BioASQ, task B: questions of four types, of which three have an exact answer. A summary question is answered by a
  paragraph that people judge: nothing here could score it, so it is left out. Through the years the exact answer of a
  factoid question came as a text, a list of synonyms, and a list of such lists.
- NQ-open: a question and a list of answers, each as good as the others. It has no ids.
- SQuAD v2: a passage, a question and the spans that answer it, none where the passage does not. The Hub's rows have
  `answers.text` and `answers.answer_start` as two lists; the official file has a list of answers, and says in
  `is_impossible` what an empty one means.
- SVAMP: a word problem of a story and a question, and the number that answers it: a text (`8.0`) on the Hub, a number
  in the official file.
- TriviaQA: a question and the names that its answer goes by: in lower case on the Hub (`answer.aliases`), not so in the
  official files (`Answer.Aliases`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from plimsoll.dataset.example import AnswerKind, Example, LeftOut
from plimsoll.dataset.fields import Fields, said

_KINDS: Final = {"yesno": AnswerKind.YES_NO, "factoid": AnswerKind.TEXT, "list": AnswerKind.LIST}
_SUMMARY: Final = "summary"


def read_bioasq(fields: Fields, number: str) -> Example | LeftOut | None:
    """The example of a row, None where it has a fault."""
    question, kind_name = fields.text("body"), fields.text("type")
    own_id = fields.text("id", optional=True)
    if kind_name == _SUMMARY:
        return LeftOut(why="summary questions have no exact answer")
    if kind_name is None:
        return None
    kind = _KINDS.get(kind_name)
    if kind is None:
        fields.fault("type", f"is {said(kind_name)}", f"known: {', '.join([*_KINDS, _SUMMARY])}")
        return None
    golds = _bioasq_golds(fields, kind)
    if question is None or not golds:
        return None
    return Example(id=own_id or number, question=question, context="", kind=kind, golds=golds)


def _bioasq_golds(fields: Fields, kind: AnswerKind) -> tuple[tuple[str, ...], ...] | None:
    """Synonyms, an item each; None where the exact answer is not in order."""
    found = fields.required("exact_answer")
    if found is None:
        return None
    items = _bioasq_items(found[1], of_list=kind is AnswerKind.LIST)
    if items is None:
        fields.fault("exact_answer", f"is {said(found[1])}, where texts or lists of texts belong")
    elif not items or not all(items):
        fields.fault("exact_answer", "has an item without a text" if items else "is empty")
    elif kind is AnswerKind.YES_NO:
        answer = items[0][0].strip().lower()
        if len(items) == len(items[0]) == 1 and answer in ("yes", "no"):
            return ((answer,),)
        fields.fault("exact_answer", f"is {said(found[1])}, where yes or no belongs")
    else:
        return items
    return None


def _bioasq_items(value: Any, *, of_list: bool) -> tuple[tuple[str, ...], ...] | None:
    """Whatever form an exact answer has, as items of synonyms; only a list question has more than one item."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence):
        return None
    groups = [[one] if isinstance(one, str) else one for one in value]
    if not all(isinstance(group, list | tuple) and all(isinstance(text, str) for text in group) for group in groups):
        return None
    if not of_list:
        groups = [[text for group in groups for text in group]] if groups else []
    return tuple(tuple(dict.fromkeys(text for text in group if text.strip())) for group in groups)


def read_nq_open(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault."""
    question, golds = fields.text("question"), fields.texts("answer")
    if golds == ():
        fields.fault("answer", "has no answer that is not empty")
    if question is None or not golds:
        return None
    distinct = tuple(dict.fromkeys(golds))
    return Example(id=number, question=question, context="", kind=AnswerKind.TEXT, golds=(distinct,))


def read_squad_v2(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault."""
    question, context = fields.text("question"), fields.text("context")
    own_id = fields.text("id", optional=True)
    answers = _spans(fields)
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


def _spans(fields: Fields) -> tuple[str, ...] | None:
    """The texts of the answers; empty where there are none, None where the field is not in order."""
    found = fields.required("answers")
    if found is None:
        return None
    if isinstance(found[1], Mapping):
        return _spans_of_lists(fields)
    answers = [(one.text("text"), _start(one)) for one in fields.children("answers")]
    texts = tuple(text for text, in_order in answers if text is not None and in_order)
    in_order = isinstance(found[1], list | tuple) and len(texts) == len(found[1])
    return texts if in_order else None


def _spans_of_lists(fields: Fields) -> tuple[str, ...] | None:
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


def read_svamp(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault. Its question is the story, which may be in the question already,
    and the question."""
    body, question = fields.text("Body", blank=True), fields.text("Question")
    own_id = fields.text("ID", optional=True)
    gold = _number(fields)
    if body is None or question is None or gold is None:
        return None
    return Example(
        id=own_id or number,
        question=f"{body.strip()} {question.strip()}".strip(),
        context="",
        kind=AnswerKind.NUMBER,
        golds=((gold,),),
    )


def _number(fields: Fields) -> str | None:
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
        large = number.is_finite() and not isinstance(value, str)
        belongs = "a number from 1e-15 up to 1e16" if large else "a number"
        fields.fault(name, f"is {said(value)}, where {belongs} belongs")
        return None
    return f"{number:f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"


_WITHHELD: Final = "<unk>"
"""The value of every answer of the test split, which is published without."""


def read_trivia_qa(fields: Fields, number: str) -> Example | None:
    """The example of a row, None where it has a fault."""
    question = fields.text("question", "Question")
    own_id = fields.text("question_id", "QuestionId", optional=True)
    answer = fields.child("answer", "Answer")
    if answer is None:
        return None
    golds = _names(answer)
    if question is None or not golds:
        return None
    return Example(id=own_id or number, question=question, context="", kind=AnswerKind.TEXT, golds=(golds,))


def _names(answer: Fields) -> tuple[str, ...]:
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
