"""What reading a dataset gives: examples, why a row is none, counts, or every fault in one error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from plimsoll.errors import Fault, PlimsollError

_NAMED: Final = 20
"""Faults that the error names; a wrong file has as many as rows."""


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


class DatasetError(PlimsollError):
    """The rows of a dataset are not what they should be: every fault, collected and raised once."""

    def __init__(self, faults: Sequence[Fault], *, dataset: str, split: str, place: str = "") -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults):,} {'fault' if len(self.faults) == 1 else 'faults'}"
        lines = [f"{count} in dataset {dataset}, split {split}{f' ({place})' if place else ''}; rows count from 0:"]
        lines += [f"  {fault}" for fault in self.faults[:_NAMED]]
        if len(self.faults) > _NAMED:
            lines.append(f"  and {len(self.faults) - _NAMED:,} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Why a row that is in order is no example; counted by the reason."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureReport:
    """Counts of what was found in the rows of a split."""

    rows: int
    examples: int
    left_out: Mapping[str, int]
    """Reason -> rows that are in order and no examples."""
    kinds: Mapping[str, int]
    """Kind of answer -> examples."""
    unanswerable: int
    """Of the examples."""
    repeated_questions: int
    """Examples whose question, on the same passage, an earlier one has under another id. They are asked too: SQuAD and
    NQ-open are published with such."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `from_json` is its inverse."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "left_out": dict(self.left_out), "kinds": dict(self.kinds)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises KeyError for anything else."""
        return cls(**{name: data[name] for name in cls.__slots__})
