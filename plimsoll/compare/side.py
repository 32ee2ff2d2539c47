"""One side of a comparison: what a run, or a file of pytest-benchmark, has to say, in one form.

The two sources know different things. What a source cannot know is None here, never an empty answer: a file of
pytest-benchmark holds no outcomes, which is not the same as a run in which nothing had one.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from plimsoll.units import counted
from plimsoll.verdict.cells import CellOutcome

Key = tuple[str, str]
"""Id of the cell and name of the metric: what is compared with what."""

TIME: Final = "time"
"""The metric of a benchmark row whose cell names none, as in files of pytest-benchmark."""


class SideKind(StrEnum):
    """What a side was read from."""

    RUN = "run"
    BENCHMARK_FILE = "pytest-benchmark file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFact:
    """Something that is known of a machine or of how a run was made.

    `value` is given for what is never twice the same, in any unit: two of them are alike within the fraction
    `tolerance`.
    """

    text: str
    value: float | None = None
    tolerance: float = 0.0

    def is_like(self, other: ComparedFact) -> bool:
        """True where the two say the same, or nearly so for what is never twice the same."""
        if self.value is None or other.value is None:
            return self.text == other.text
        return abs(self.value - other.value) <= self.tolerance * max(abs(self.value), abs(other.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What decides whether two sides may be compared, and the facts that explain a difference."""

    gpus: tuple[str, ...] | None
    """Name, memory and split of each GPU; empty where there is none, None where the source does not say."""
    cpu: str | None
    facts: Mapping[str, ComparedFact]
    """By label, in the order in which people should read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnGpus:
    """The GPUs that a check was asked of, in their order; None for what the source does not say of all of them."""

    uuids: tuple[str, ...] | None
    products: tuple[str, ...] | None

    def __str__(self) -> str:
        """By UUID, else by product."""
        return " and ".join(self.uuids or self.products or ("an unknown GPU",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What was timed in one cell, round by round, in the order of the rounds."""

    cell: str
    metric: str
    unit: str
    rounds: tuple[float, ...]
    """Empty where the source kept only a summary."""
    median: float
    variant: str | None = None
    timer: str | None = None
    cache: str | None = None
    """The state of the page cache that was asked for."""
    weights: str | None = None
    """Where the weights came from."""

    @property
    def higher_is_better(self) -> bool:
        """True for rates (`tokens/s`), False for times."""
        return self.unit.endswith("/s")


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFigure:
    """One value that was measured once in a cell, in its base unit; None where it was not, and then why."""

    cell: str
    metric: str
    unit: str
    value: float | None
    reason: str = ""
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellState:
    """How a cell ended, and the reason where it is not good."""

    outcome: CellOutcome
    reason: str = ""
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Everything that is compared of one source."""

    name: str
    path: Path
    kind: SideKind
    machine: Machine
    verdict: str | None
    """The word of the verdict; None for a file of pytest-benchmark."""
    cells: Mapping[str, CellState] | None
    """By id; None for a file of pytest-benchmark."""
    timed: Mapping[Key, Timed]
    figures: Mapping[Key, SideFigure]
    on: Mapping[str, OnGpus] = field(default_factory=dict)
    """By id of the check, for those of GPUs."""
    bits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By id of the check, for those that compute logits to the last bit: a digest for each way of computing them."""
    notes: tuple[str, ...] = ()
    """What a reader must know about this side."""


def pooled(rows: Iterable[Timed]) -> tuple[dict[Key, Timed], tuple[str, ...]]:
    """By cell and metric, with a note where a cell was timed more than once (a resumed run, a rerun test)."""
    timed: dict[Key, Timed] = {}
    again: set[Key] = set()
    for row in rows:
        key = (row.cell, row.metric)
        if key in timed:
            again.add(key)
            row = _together(timed[key], row)
        timed[key] = row
    if not again:
        return timed, ()
    cells = counted(len(again), "check")
    return timed, (f"timed more than once, their rounds are pooled: {cells}, such as {min(again)[0]}",)


def _together(first: Timed, second: Timed) -> Timed:
    rounds = (*first.rounds, *second.rounds) if first.rounds and second.rounds else ()
    return replace(first, rounds=rounds, median=statistics.median(rounds or (first.median, second.median)))
