"""The section of report.html in which one reads each answer of a dataset beside what was expected.

Its size is bounded, since a run may have a hundred thousand answers: the sets of answers share what room there is, the
wrong answers of a set come before the right ones, and long texts are cut. Evidence has all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from plimsoll.dataset.example import UNANSWERABLE, AnswerKind, Example
from plimsoll.evidence.answers import AnswerRecord
from plimsoll.evidence.record import RunRecord
from plimsoll.present import html
from plimsoll.present.document import (
    BREAK,
    Fold,
    Paragraph,
    Section,
    Span,
    Style,
    Table,
    Tone,
    Words,
    columns,
    faint,
)
from plimsoll.present.foreign_text import one_line, printable
from plimsoll.uncertainty.answer_sets import AnswerSet, gather
from plimsoll.units import counted

ROOM: Final = 400_000
"""Characters of HTML that the rows of all sets may take together."""
_QUESTION: Final = 300
_CONTEXT: Final = 120
_ANSWER: Final = 400
_EXPECTED: Final = 200
"""Characters of each text that are shown."""
_GOLDS: Final = 3
"""Texts that count as right which are shown of each item."""
_MARKUP: Final = 230
"""Characters of HTML around the texts of a row, at most."""
_COLUMNS: Final = columns("#", "Question", "Expected", "Answer", "Score", figures=(0,))


def answers_section(record: RunRecord) -> Section | None:
    """A fold for each variant and dataset; None for a run that has no answers."""
    if not record.askings:
        return None
    asked = [one for one in gather(record).asked if one.answers]
    if not asked:
        return None
    shown: dict[int, tuple[tuple[Words, ...], ...]] = {}
    left = ROOM
    # Small sets first: what they leave is for the large ones.
    for place in sorted(range(len(asked)), key=lambda place: len(asked[place].answers)):
        shown[place], used = _rows(asked[place], left // (len(asked) - len(shown)))
        left -= used
    return Section(
        title="Answers, one by one",
        note=f"{sum(len(one.answers) for one in asked):,} in all",
        anchor="answers",
        fold=Fold.CLOSED,
        blocks=tuple(_fold(one, shown[place]) for place, one in enumerate(asked)),
    )


def _fold(asked: AnswerSet, rows: tuple[tuple[Words, ...], ...]) -> Section:
    right = sum(answer.correct for answer in asked.answers)
    rule = asked.asking.correct
    told = f"Right is an answer whose {rule.metric} is at least {rule.at_least:g}."
    if len(rows) < len(asked.answers):
        told += (
            f" {len(rows)} of {counted(len(asked.answers), 'answer')} are shown, the wrong ones before the right ones: "
            "evidence.jsonl has all of them."
        )
    return Section(
        title=asked.name,
        level=2,
        note=f"{right} of {len(asked.answers)} right{f'; {asked.problem}' if asked.problem else ''}",
        fold=Fold.CLOSED,
        blocks=(Paragraph(words=faint(told)), Table(label=f"Answers of {asked.name}", columns=_COLUMNS, rows=rows)),
    )


def _rows(asked: AnswerSet, room: int) -> tuple[tuple[tuple[Words, ...], ...], int]:
    """The rows that have room, in the order of asking, and how much of it they take."""
    taken: dict[int, tuple[Words, ...]] = {}
    used = 0
    for answer in sorted(asked.answers, key=lambda one: one.correct):
        row = _row(asked, answer)
        size = _MARKUP + sum(_size(cell) for cell in row)
        if used + size > room:
            break
        taken[answer.index] = row
        used += size
    return tuple(taken[index] for index in sorted(taken)), used


def _row(asked: AnswerSet, answer: AnswerRecord) -> tuple[Words, ...]:
    example = answer.example
    context = (_foreign(example.context, _CONTEXT), BREAK) if example.context else ()
    score = answer.scores.get(asked.asking.correct.metric)
    word = Span(text="right", tone=Tone.GOOD) if answer.correct else Span(text="wrong", tone=Tone.BAD)
    return (
        str(answer.index + 1),
        (*context, _foreign(example.question, _QUESTION)),
        _foreign(_expected(example), _EXPECTED),
        _foreign(answer.text, _ANSWER) if answer.text.strip() else faint("nothing"),
        (word, "" if score is None else f" {score:.2f}"),
    )


def _foreign(text: str, longest: int) -> Span:
    return Span(text=one_line(text, longest), style=Style.FOREIGN)


def _expected(example: Example) -> str:
    """`Paris or City of Paris`; the items of a list stand beside each other."""
    if example.kind is AnswerKind.UNANSWERABLE:
        return UNANSWERABLE
    return ", ".join(map(_texts, example.golds))


def _texts(gold: Iterable[str]) -> str:
    texts = list(dict.fromkeys(gold))
    more = f" or {len(texts) - _GOLDS} more" if len(texts) > _GOLDS else ""
    return " or ".join(texts[:_GOLDS]) + more


def _size(words: Words) -> int:
    pieces = words if isinstance(words, tuple) else (words,)
    return sum(len(html.own_escape(printable(str(getattr(piece, "text", piece))))) for piece in pieces)
