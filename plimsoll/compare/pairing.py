"""Pairs what two sides have in common, and lists what only one of them has: nothing is dropped.

A cell that is missing is listed once, without its metrics; a metric is listed where the cell is there and the figure
is not, with the reason that the other side gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from plimsoll.compare.result import Absent, FigureRow, Mismatch, NumericsChange, OutcomeChange
from plimsoll.compare.rule import Level, Rule
from plimsoll.compare.side import TIME, CellState, Key, Side, SideFigure, Timed
from plimsoll.metrics import FLOORED, METRICS


def shared_times(base: Side, other: Side) -> tuple[list[tuple[Timed, Timed]], list[Mismatch]]:
    """The times of both sides, those that can be compared and those that cannot, with the reason."""
    pairs, mismatched = [], []
    for ours in base.timed.values():
        theirs = _counterpart(ours, other)
        if theirs is None:
            continue
        reason = _mismatch(ours, theirs)
        if reason is None:
            pairs.append((ours, theirs))
        else:
            mismatched.append(Mismatch(cell=ours.cell, metric=ours.metric, reason=reason))
    return pairs, mismatched


def _counterpart(timed: Timed, side: Side) -> Timed | None:
    """The same time of another side. A file of pytest-benchmark has no names of metrics: there the only time of the
    cell is it."""
    found = side.timed.get((timed.cell, timed.metric))
    if found is not None:
        return found
    of_cell = [entry for entry in side.timed.values() if entry.cell == timed.cell and entry.unit == timed.unit]
    return of_cell[0] if len(of_cell) == 1 and TIME in (timed.metric, of_cell[0].metric) else None


def _mismatch(ours: Timed, theirs: Timed) -> str | None:
    """Why two times cannot be compared: they measure different things, as far as the sources say, or are no times."""
    for timed in (ours, theirs):
        if not all(0.0 < value < math.inf for value in (timed.median, *timed.rounds)):
            return "a round has no length above zero: the clock was too coarse for it"
    for what, first, second in (
        ("unit", ours.unit, theirs.unit),
        ("clock", ours.timer, theirs.timer),
        ("state of the page cache", ours.cache, theirs.cache),
        ("source of the weights", ours.weights, theirs.weights),
    ):
        if first is not None and second is not None and first != second:
            return f"the {what} is not the same: {first} and {second}"
    return None


def numerics_changes(base: Side, other: Side) -> list[NumericsChange]:
    """The checks in which the same way of computing gave other bits, in the base's order."""
    found = []
    for cell, ours in base.bits.items():
        theirs = other.bits.get(cell, {})
        shared = [way for way in ours if way in theirs]
        changed = tuple(way for way in shared if ours[way] != theirs[way])
        if changed:
            found.append(NumericsChange(cell=cell, ways=changed, of=len(shared)))
    return found


def figure_rows(base: Side, other: Side, rule: Rule) -> tuple[list[FigureRow], list[FigureRow], list[FigureRow]]:
    """Memory figures, speeds of devices, then all others, that both sides tried to measure: each is in one of them."""
    memory: list[FigureRow] = []
    speeds: list[FigureRow] = []
    others: list[FigureRow] = []
    for key, ours in base.figures.items():
        theirs = other.figures.get(key)
        if theirs is None:
            continue
        rows = memory if ours.unit == "bytes" else speeds if ours.metric in FLOORED else others
        rows.append(_figure_row(ours, theirs, rule))
    return memory, speeds, others


def _figure_row(ours: SideFigure, theirs: SideFigure, rule: Rule) -> FigureRow:
    first, second = ours.value, theirs.value
    change = None
    if first is None or second is None or not (math.isfinite(first) and math.isfinite(second)):
        level = Level.UNKNOWN
    else:
        change = second / first - 1.0 if first else None
        relative, absolute = _tolerances(ours, rule)
        if abs(second - first) <= max(relative * abs(first), absolute):
            level = Level.SAME
        else:
            level = Level.MORE if second > first else Level.LESS
    return FigureRow(base=ours, other=theirs, change=change, level=level)


def _tolerances(figure: SideFigure, rule: Rule) -> tuple[float, float]:
    """How far a figure may move, as a fraction and in its unit, before it counts as changed."""
    known = METRICS.get(figure.metric)
    if known is not None and known.is_exact:
        return 0.0, 0.0
    return rule.memory_tolerance, rule.memory_floor if figure.unit == "bytes" else 0.0


def absent(side: Side, from_: Side) -> list[Absent]:
    """What `side` has and `from_` has not: whole cells first, then times and figures of cells that are there."""
    found: list[Absent] = []
    gone: set[str] = set()
    if side.cells is not None and from_.cells is not None:
        gone = side.cells.keys() - from_.cells.keys()
        found = [
            Absent(cell=cell, metric=None, reason="not in the plan", variant=state.variant)
            for cell, state in side.cells.items()
            if cell in gone
        ]
    metrics: Mapping[Key, Timed | SideFigure] = {**side.timed, **_comparable_figures(side, from_)}
    for key, entry in metrics.items():
        is_there = _value(from_.figures.get(key)) is not None or (
            isinstance(entry, Timed) and _counterpart(entry, from_) is not None
        )
        if entry.cell not in gone and _value(entry) is not None and not is_there:
            reason = _why_absent(key, from_)
            found.append(Absent(cell=entry.cell, metric=entry.metric, reason=reason, variant=entry.variant))
    return found


def _comparable_figures(side: Side, from_: Side) -> Mapping[Key, SideFigure]:
    """A file of pytest-benchmark holds no figures but times: beside it, those of a run are not missing."""
    return side.figures if from_.cells is not None else {}


def _value(entry: Timed | SideFigure | None) -> float | None:
    if isinstance(entry, Timed):
        return entry.median
    return None if entry is None else entry.value


def _why_absent(key: Key, side: Side) -> str:
    figure = side.figures.get(key)
    if figure is not None and figure.reason:
        return figure.reason
    state = None if side.cells is None else side.cells.get(key[0])
    if state is None:
        return "not in the file"
    reason = state.reason.partition("\n")[0]
    return f"{state.outcome.word}{': ' if reason else ''}{reason}"


def outcome_changes(base: Side, other: Side) -> list[OutcomeChange]:
    """Cells of both sides that ended differently, those that lost a good outcome first."""
    ours, theirs = base.cells or {}, other.cells or {}
    changes = [_change(cell, ours[cell], theirs[cell]) for cell in ours if cell in theirs]
    return sorted((change for change in changes if change is not None), key=lambda change: not change.is_worse)


def _change(cell: str, ours: CellState, theirs: CellState) -> OutcomeChange | None:
    if ours.outcome is theirs.outcome:
        return None
    return OutcomeChange(
        cell=cell,
        base=ours.outcome.word,
        other=theirs.outcome.word,
        reason=theirs.reason,
        is_worse=ours.outcome.is_good and not theirs.outcome.is_good,
    )
