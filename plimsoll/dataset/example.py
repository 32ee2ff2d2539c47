"""A question with what counts as its answer, whatever format it came in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AnswerKind(StrEnum):
    """How an answer is compared with the golds."""

    TEXT = "text"
    """Right when it says what one of the texts says."""
    UNANSWERABLE = "unanswerable"
    """Right when it gives no answer."""
    NUMBER = "number"
    """Right when it is the same number."""
    YES_NO = "yes-no"
    LIST = "list"
    """Names several items, each of which may have synonyms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question of a dataset."""

    id: str
    """Unique in its split: the dataset's own where it has one, else split and row, `validation-17`."""
    question: str
    context: str
    """The passage that the answer is in; empty for a question without one."""
    kind: AnswerKind
    golds: tuple[tuple[str, ...], ...]
    """What counts as right: one tuple of texts an item, each text as good as the others. One item for TEXT, NUMBER and
    YES_NO (`("yes",)`), as many as must be named for LIST, none for UNANSWERABLE."""
    known: bool | None = None
    """True where the model was taught this example, False where it was withheld; None where that is unknown."""

    @property
    def answer(self) -> str:
        """The answer as one would write it: what is taught, and what a few-shot example shows."""
        if self.kind is AnswerKind.UNANSWERABLE:
            return UNANSWERABLE
        return ", ".join(item[0] for item in self.golds)


UNANSWERABLE = "unanswerable"
"""What a model is asked to say where a passage does not hold the answer."""
