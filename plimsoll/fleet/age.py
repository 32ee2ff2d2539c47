"""Finds runs that are too old to speak of a node as it is now, and runs whose clock cannot have been right."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from plimsoll.fleet.completeness import FleetFault
from plimsoll.fleet.names import compressed
from plimsoll.fleet.summary import NodeSummary, RunNote
from plimsoll.units import counted

AHEAD: Final = timedelta(minutes=5)
"""How far a time may lie in the future: clocks of nodes are set to each other by seconds."""
FIRST: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""No run is older than Plimsoll: a clock that has lost its battery begins in 1970, or when its board was made."""
APART: Final = timedelta(days=7)
"""By how much runs of one acceptance differ at most: nodes that are in use are asked as they become free."""


def too_old(nodes: Sequence[NodeSummary], now: datetime, most: timedelta) -> list[FleetFault]:
    """Nodes of which a run that counts ended longer ago than `most`, or at a time that cannot be."""
    late: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for node in nodes:
        for run in node.runs:
            ended = time_of(run)
            if ended is None or not FIRST <= ended <= now + AHEAD:
                wrong[node.name] = run.run_id
            elif now - ended > most:
                late[node.name] = run.run_id
    hours = f"{most / timedelta(hours=1):g} h"
    return [
        *_fault(late, f"longer ago than {hours}, the most that is allowed", "run them again, or leave old runs out"),
        *_fault(wrong, "at no time that can be, so that nobody knows how old it is", "set their clocks, and run again"),
    ]


def _fault(runs: dict[str, str], when: str, step: str) -> list[FleetFault]:
    if not runs:
        return []
    example = next(iter(runs.values()))
    return [FleetFault(f"what {compressed(runs)} left ended {when}, such as {example}; {step}", tuple(runs))]


def in_no_order(own: Sequence[NodeSummary], now: datetime) -> list[FleetFault]:
    """A fault where one of several runs of a node began at a time that cannot be: nobody knows which is the newest."""
    wrong = [run.run_id for each in own for run in each.runs if not _is_possible(_parsed(run.started), now)]
    if not wrong or len(own) < 2:
        return []
    name = own[-1].name
    text = (
        f"by its clock {wrong[0]} of {name} began at no time that can be, and so nobody knows which of its "
        f"{counted(len(own), 'run')} is the newest; set the clock, and run it again into a new folder"
    )
    return [FleetFault(text, (name,))]


def _is_possible(at: datetime | None, now: datetime) -> bool:
    # A start that is lost counts as the newest already.
    return at is None or FIRST <= at <= now + AHEAD


def old_among(nodes: Sequence[NodeSummary]) -> list[str]:
    """A note where what a node left is much older than what others left: it may be of an earlier acceptance."""
    ends = {node.name: end for node in nodes if (end := time_of(node.runs[-1])) is not None}
    if not ends:
        return []
    newest = max(ends.values())
    old = [name for name, end in ends.items() if newest - end > APART]
    if not old:
        return []
    return [
        f"what {compressed(old)} left is more than {APART.days} days older than the newest: is it of this acceptance? "
        "--max-age HOURS refuses what is older"
    ]


def time_of(run: RunNote) -> datetime | None:
    """When a run ended, or began where its end is lost; None where neither can be read."""
    return _parsed(run.ended) or _parsed(run.started)


def _parsed(text: str | None) -> datetime | None:
    try:
        at = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
