"""What a comparison found, as frozen values: everything that is printed, drawn or written as JSON is in here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from plimsoll.compare.machine import MachineDifference
from plimsoll.compare.rule import Change, Level, Rule
from plimsoll.compare.side import Side, SideFigure, Timed
from plimsoll.statistics.interval import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRow:
    """One time of the base held against that of the other side."""

    base: Timed
    other: Timed
    ratio: float
    """Other over base, the median over all pairs of a round of each; of the medians where there are too few rounds."""
    interval: Interval | None
    """None where a side has too few rounds for one."""
    p: float | None
    """Of the rank test; None where too few rounds were taken for any test."""
    p_adjusted: float | None
    """Corrected for all tests of the comparison."""
    delta: float | None
    """Cliff's delta; None where a side has no rounds."""
    noise: float | None
    """Standard deviation of the logarithms of rounds; None where there are too few to tell."""
    word: Change
    why: str
    """Why there are too few samples; empty for the other words."""
    to_find: int | None
    """Rounds a side that find a change of `Rule.change`; None where no number does, as on an unsteady machine."""
    for_same: int | None
    """Rounds a side that show two equal times to be the same; None where no number does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One figure that has a single value a run, held against that of the other side."""

    base: SideFigure
    other: SideFigure
    change: float | None
    """The other's as a fraction of the base's, less one; None where a value is missing or the base's is zero."""
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A cell, or a metric of a cell, that one side has and the other has not."""

    cell: str
    metric: str | None
    """None where the whole cell is absent."""
    reason: str
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A time that both sides have and that cannot be compared all the same."""

    cell: str
    metric: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeChange:
    """A cell that ended differently."""

    cell: str
    base: str
    other: str
    reason: str
    """The other side's, where its outcome has one."""
    is_worse: bool
    """True where a good outcome was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericsChange:
    """A check in which other bits were computed than before."""

    cell: str
    ways: tuple[str, ...]
    """The ways of computing them that changed."""
    of: int
    """How many ways both sides computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """One side held against the base."""

    base: Side
    other: Side
    unlike: tuple[str, ...]
    """Why the two should not be compared; not empty only where the user forced it."""
    times: tuple[TimeRow, ...]
    memory: tuple[FigureRow, ...]
    speeds: tuple[FigureRow, ...]
    """Of devices; a floor judges each, and one value a run shows no change of it."""
    figures: tuple[FigureRow, ...]
    missing: tuple[Absent, ...]
    """In the base, not in the other."""
    added: tuple[Absent, ...]
    """In the other, not in the base."""
    mismatched: tuple[Mismatch, ...]
    outcomes: tuple[OutcomeChange, ...]
    numerics: tuple[NumericsChange, ...]
    overall: float | None
    """The geometric mean of all ratios; None where there are none."""
    steadiness: tuple[str, ...]
    """What was learnt about how steady the machine is."""
    variance_factor: float

    @property
    def words(self) -> Counter[Change]:
        """How often each word was given to a time."""
        return Counter(row.word for row in self.times)

    @property
    def memory_levels(self) -> Counter[Level]:
        """How often memory was more, less, the same or not measured."""
        return Counter(row.level for row in self.memory)

    @property
    def verdict_is_worse(self) -> bool:
        """True where the base was accepted and the other is not, or the other alone is rejected."""
        order = ("ACCEPTED", "INCOMPLETE", "REJECTED")
        ours, theirs = self.base.verdict, self.other.verdict
        return ours in order and theirs in order and order.index(theirs) > order.index(ours)

    @property
    def shares_bits(self) -> bool:
        """True where some check computed the same model to the last bit on both sides, in the same way."""
        theirs = self.other.bits
        return any(not ways.keys().isdisjoint(theirs.get(cell, {})) for cell, ways in self.base.bits.items())

    @property
    def is_empty(self) -> bool:
        """True where the two have nothing in common: no time, no figure, no cell."""
        return not (self.times or self.memory or self.speeds or self.figures or self.mismatched or self.shares_checks)

    @property
    def shares_checks(self) -> bool:
        """True where both planned some check."""
        return not (self.base.cells or {}).keys().isdisjoint(self.other.cells or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The base, and each other side held against it."""

    rule: Rule
    sides: tuple[Side, ...]
    likes: tuple[Side, ...]
    """More runs of the base's configuration, from which the spread between runs was learnt."""
    differences: tuple[MachineDifference, ...]
    versus: tuple[Versus, ...]
    tests: int
    """Rank tests that could have reached significance: what p-values are corrected for."""
