"""Pairs what GPUs of two sides have in common: a variant on one GPU with the same variant on the same GPU, else with
the same on another GPU of the same product.

Ids of checks carry the GPU where a node has several (`llama-3.1-8b/nf4:gpu3`), and the place of a GPU says nothing of
which one it is: after a repair `gpu3` may be another, and on another node it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from plimsoll.compare.side import OnGpus, Side

_PLACED: Final = re.compile(r":gpu[\d.]+(?:\+gpu[\d.]+)*|(?<=\[)gpu[\d.]+(?=[-\]])")


def aligned(base: Side, other: Side) -> Side:
    """`other` with the ids of its checks as `base` has them for those that they are to be held against."""
    renamed = _renamed(base.on, other.on)
    if not renamed:
        return other

    def today(cell: str) -> str:
        return renamed.get(cell, cell)

    return replace(
        other,
        cells=None if other.cells is None else {today(cell): state for cell, state in other.cells.items()},
        timed={(today(cell), metric): replace(v, cell=today(cell)) for (cell, metric), v in other.timed.items()},
        figures={(today(cell), metric): replace(v, cell=today(cell)) for (cell, metric), v in other.figures.items()},
        on={today(cell): on for cell, on in other.on.items()},
        bits={today(cell): digests for cell, digests in other.bits.items()},
    )


def _renamed(base: Mapping[str, OnGpus], other: Mapping[str, OnGpus]) -> dict[str, str]:
    """Id there -> id in the base, for those that are not called the same already."""
    ours, theirs = _by_check(base), _by_check(other)
    pairs: dict[str, str] = {}
    for check, here in ours.items():
        there = theirs.get(check, [])
        for alike in (lambda on: on.uuids, lambda on: on.products):
            _pair(pairs, {cell: base[cell] for cell in here}, {cell: other[cell] for cell in there}, alike)
    apart = {cell: f"{cell} on {other[cell]}" for cell in other if cell in base and cell not in pairs}
    # One that keeps its name because nothing is like it, and whose name is not wanted for another, is held against it.
    taken = {mine for cell, mine in pairs.items()}
    renamed = {**pairs, **{cell: text for cell, text in apart.items() if cell in taken}}
    return {cell: mine for cell, mine in renamed.items() if cell != mine}


def _pair(
    pairs: dict[str, str],
    base: Mapping[str, OnGpus],
    other: Mapping[str, OnGpus],
    alike: Callable[[OnGpus], tuple[str, ...] | None],
) -> None:
    """Add the pairs that are alike in this, each check once, in the order of the base."""
    taken = set(pairs.values())
    for mine, on in base.items():
        wanted = alike(on)
        if mine in taken or wanted is None:
            continue
        found = next((cell for cell, there in other.items() if cell not in pairs and alike(there) == wanted), None)
        if found is not None:
            pairs[found] = mine


def _by_check(on: Mapping[str, OnGpus]) -> dict[str, list[str]]:
    """The ids of each check, whichever GPU they are of."""
    found: dict[str, list[str]] = {}
    for cell in on:
        found.setdefault(_PLACED.sub("", cell), []).append(cell)
    return found
