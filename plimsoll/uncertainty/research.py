"""Answers the five research questions by numbers, or by what is missing for an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.uncertainty.comparing import AUROC, Compared
from plimsoll.uncertainty.pairs import ALIKE_IN_SIZE, Topic

RESEARCH: Final = (
    Topic.SIZE,
    Topic.FAMILY,
    Topic.DATASET,
    Topic.TUNING,
    Topic.QUANTIZATION,
)

_NEEDED: Final = {
    Topic.SIZE: "two models of one family that differ in parameters, both tuned or both not, asked one dataset",
    Topic.FAMILY: "two models of different families, one at most "
    f"{ALIKE_IN_SIZE:g} times as large as the other, both tuned or both not, asked one dataset",
    Topic.DATASET: "one variant that was asked both triviaqa and squad",
    Topic.TUNING: "a tuned model and the one that it was made from, asked one dataset",
    Topic.QUANTIZATION: "a quantized variant and the same model in bf16, fp16 or fp32, asked exactly the same",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicAnswer:
    """What the numbers say to one question."""

    question: Topic
    is_measured: bool
    text: str
    """One sentence; the comparisons hold the numbers of each pair."""


def answer_all(comparisons: Sequence[Compared]) -> tuple[TopicAnswer, ...]:
    """An answer to each of the five."""
    return tuple(_answer(question, [c for c in comparisons if c.question is question]) for question in RESEARCH)


def _answer(question: Topic, rows: Sequence[Compared]) -> TopicAnswer:
    if not rows:
        return TopicAnswer(question=question, is_measured=False, text=f"not measured: this needs {_NEEDED[question]}")
    measured = [row for row in rows if row.difference is not None]
    if not measured:
        reasons = "; ".join(dict.fromkeys(row.reason for row in rows))
        return TopicAnswer(question=question, is_measured=False, text=f"not measured: {reasons}")
    parts = [_counts([row for row in measured if row.figure == figure], figure) for figure in _figures(measured)]
    lost = len(rows) - len(measured)
    parts += [f"{lost} not measured"] if lost else []
    impure = sum(bool(row.also) for row in measured)
    parts += [f"{impure} of these pairs differ in quantization too"] if impure else []
    return TopicAnswer(question=question, is_measured=True, text="; ".join(parts))


def _figures(rows: Sequence[Compared]) -> list[str]:
    return list(dict.fromkeys(row.figure for row in rows))


def _counts(rows: Sequence[Compared], figure: str) -> str:
    """`AUROC +0.012 to +0.094 (median +0.050) in 4 pairs: higher in 1, no difference shown in 3`."""
    values = sorted(row.difference.value for row in rows if row.difference is not None)
    middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2.0
    name = "AUROC" if figure == AUROC else figure
    counts = Counter(row.word for row in rows)
    words = ", ".join(
        f"{word} in {counts[word]}" for word in ("higher", "lower", "no difference shown") if counts[word]
    )
    if len(values) == 1:
        return f"{name} {values[0]:+.3f} in 1 pair: {words}"
    return f"{name} {values[0]:+.3f} to {values[-1]:+.3f} (median {middle:+.3f}) in {len(values)} pairs: {words}"
