"""Reads the evidence of many nodes one by one, on all cores, and keeps of each what a fleet is judged by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import read_runs
from plimsoll.fleet.discovery import Lineage
from plimsoll.fleet.summary import NodeSummary, summarise
from plimsoll.present.foreign_text import one_line
from plimsoll.verdict.verdict import reach_verdict

_ALONE_UP_TO: Final = 24
"""Nodes that are read in this process: others take a fifth of a second to start."""
_MOST_PROCESSES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A run whose evidence says nothing at all."""

    path: str
    why: str


def read_nodes(lineages: Sequence[Lineage], processes: int | None = None) -> Iterator[NodeSummary | Unreadable]:
    """The summary of each, in their order; never more than a few records are held at a time.

    Raises PlimsollError where a process that reads is killed.
    """
    count = min(_MOST_PROCESSES, _cores() if processes is None else processes)
    if count < 2 or len(lineages) <= _ALONE_UP_TO:
        yield from map(read_node, lineages)
        return
    try:
        with ProcessPoolExecutor(max_workers=count) as pool:
            yield from pool.map(read_node, lineages, chunksize=4)
    except BrokenProcessPool:
        raise PlimsollError(
            "a process that read evidence was killed, likely for memory; --jobs 1 reads one node after the other"
        ) from None


def read_node(lineage: Lineage) -> NodeSummary | Unreadable:
    """One run with those that it resumes, read whole, judged, and cut down."""
    try:
        record = read_runs(lineage.paths)
    except PlimsollError as error:
        return Unreadable(path=str(lineage.paths[0]), why=one_line(str(error), 1000))
    return summarise(record, reach_verdict(record))


def split(found: Iterable[NodeSummary | Unreadable]) -> tuple[list[NodeSummary], list[Unreadable]]:
    """What could be read, and what could not."""
    read: list[NodeSummary] = []
    unread: list[Unreadable] = []
    for each in found:
        (read if isinstance(each, NodeSummary) else unread).append(each)  # type: ignore[arg-type]
    return read, unread


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
