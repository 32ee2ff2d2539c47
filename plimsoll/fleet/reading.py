"""Reads the evidence of many nodes one by one, on all cores, and keeps of each what a fleet is judged by."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import read_runs
from plimsoll.fleet.discovery import Lineage
from plimsoll.fleet.summary import NodeSummary, summarise
from plimsoll.present.foreign_text import one_line
from plimsoll.verdict.verdict import reach_verdict

_ALONE_UP_TO: Final = 24
"""Nodes that are read in this process: others take a fifth of a second to start."""
_MOST_PROCESSES: Final = 16
_AT_ONCE: Final = 4
"""Nodes that a process is given at a time."""


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
    yield from _read_side_by_side(lineages, count)


def _read_side_by_side(lineages: Sequence[Lineage], count: int) -> Iterator[NodeSummary | Unreadable]:
    """Each process has a connection to itself: the standard library's pool of processes shares one for all results, and
    waits for ever for the rest of a result whose writer was killed.
    """
    portions = [lineages[start : start + _AT_ONCE] for start in range(0, len(lineages), _AT_ONCE)]
    begun = 0
    done: dict[int, list[NodeSummary | Unreadable]] = {}
    with ExitStack() as readers:
        busy: dict[Connection, int] = {}
        free = [readers.enter_context(_reader()) for _ in range(min(count, len(portions)))]
        for number in range(len(portions)):
            while number not in done:
                with _alive():
                    while free and begun < len(portions):
                        connection = free.pop()
                        connection.send(portions[begun])
                        busy[connection], begun = begun, begun + 1
                    ready = set(wait(list(busy)))
                    said = {connection: connection.recv() for connection in busy if connection in ready}
                for connection, answer in said.items():
                    if isinstance(answer, Exception):
                        raise answer
                    done[busy.pop(connection)] = answer
                    free.append(connection)
            yield from done.pop(number)


@contextmanager
def _alive() -> Iterator[None]:
    """Raise PlimsollError where a process is gone that is spoken with."""
    try:
        yield
    except (EOFError, OSError):
        raise PlimsollError(
            "a process that read evidence was killed, likely for memory; --jobs 1 reads one node after the other"
        ) from None


@contextmanager
def _reader() -> Iterator[Connection]:
    """A process that answers lists of runs with lists of summaries; it is killed at the end, for it keeps nothing."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_answer, args=(theirs, ours), daemon=True)
    with ours:
        with theirs:
            try:
                process.start()
            except OSError as error:
                raise PlimsollError(
                    f"no process can be started to read evidence: {reason_of(error)}; --jobs 1 needs none"
                ) from None
        try:
            yield ours
        finally:
            process.kill()
            process.join()


def _answer(connection: Connection, other_end: Connection) -> None:
    """Read what is asked for until nobody asks any more."""
    other_end.close()  # or nobody's end would be seen
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks, which ends this one
    while True:
        try:
            lineages = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            said: object = [read_node(lineage) for lineage in lineages]
        except Exception as error:  # noqa: BLE001  who asked raises it
            said = error
        connection.send(said)


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
