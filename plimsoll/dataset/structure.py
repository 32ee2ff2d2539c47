"""Reports on the rows of a split: counts for evidence where they are sound, else every fault in one error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from plimsoll.errors import Fault, PlimsollError

_NAMED: Final = 20
"""Faults that the error names; a wrong file has as many as rows."""


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
