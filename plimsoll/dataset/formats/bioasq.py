"""BioASQ, task B: questions of four types, of which three have an exact answer.

A summary question is answered by a paragraph that people judge: nothing here could score it, so it is left out. Through
the years the exact answer of a factoid question came as a text, a list of synonyms, and a list of such lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.fields import Fields, said
from plimsoll.dataset.structure import LeftOut

_KINDS: Final = {"yesno": AnswerKind.YES_NO, "factoid": AnswerKind.TEXT, "list": AnswerKind.LIST}
_SUMMARY: Final = "summary"


def read(fields: Fields, number: str) -> Example | LeftOut | None:
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
    golds = _golds(fields, kind)
    if question is None or not golds:
        return None
    return Example(id=own_id or number, question=question, context="", kind=kind, golds=golds)


def _golds(fields: Fields, kind: AnswerKind) -> tuple[tuple[str, ...], ...] | None:
    """Synonyms, an item each; None where the exact answer is not in order."""
    found = fields.required("exact_answer")
    if found is None:
        return None
    items = _items(found[1], of_list=kind is AnswerKind.LIST)
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


def _items(value: Any, *, of_list: bool) -> tuple[tuple[str, ...], ...] | None:
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
