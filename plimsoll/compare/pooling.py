"""Puts the rounds of a cell together where a source has more than one row for it, and says so."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace

from plimsoll.compare.side import Key, Timed
from plimsoll.units import counted


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
