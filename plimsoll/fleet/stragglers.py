"""Nodes that took much longer than their like for the same checks, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from plimsoll.fleet.names import natural
from plimsoll.fleet.summary import NodeSummary
from plimsoll.units import format_seconds

FACTOR: Final = 1.5
"""How many times the median a node must take to be named; page caches and neighbours explain less."""
LEAST: Final = 30.0
"""Seconds above the median below which nobody waits."""
_FEWEST: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Straggler:
    """A node that took long; seconds."""

    node: str
    seconds: float
    middle: float
    """The median of its like."""
    check: str | None
    """Where most of the difference lies; None where no check took longer."""
    check_seconds: float
    check_middle: float

    def __str__(self) -> str:
        """`it took 4 min 05 s, and 58.0 s is the median; most of it in ...`."""
        text = f"it took {format_seconds(self.seconds)}, and {format_seconds(self.middle)} is the median"
        if self.check is None:
            return text
        spent = f"{format_seconds(self.check_seconds)} in place of {format_seconds(self.check_middle)}"
        return f"{text}; most of it in {self.check}: {spent}"


def find_stragglers(nodes: Sequence[NodeSummary]) -> tuple[Straggler, ...]:
    """Nodes above `FACTOR` times the median of those with the same products and scope, the latest first."""
    groups: dict[tuple[object, ...], list[NodeSummary]] = {}
    for node in nodes:
        if node.seconds is not None:
            groups.setdefault((node.products, node.scope), []).append(node)
    found = [one for group in groups.values() if len(group) >= _FEWEST for one in _of_group(group)]
    return tuple(sorted(found, key=lambda one: (one.middle - one.seconds, natural(one.node))))


def _of_group(group: Sequence[NodeSummary]) -> list[Straggler]:
    middle = median(node.seconds or 0.0 for node in group)
    late = [node for node in group if (node.seconds or 0.0) > max(FACTOR * middle, middle + LEAST)]
    return [_straggler(node, group, middle) for node in late]


def _straggler(node: NodeSummary, group: Sequence[NodeSummary], middle: float) -> Straggler:
    middles = {check: median(each.durations.get(check, 0.0) for each in group) for check in node.durations}
    slowest = max(middles, key=lambda check: node.durations[check] - middles[check], default=None)
    lost = 0.0 if slowest is None else node.durations[slowest] - middles[slowest]
    return Straggler(
        node=node.name,
        seconds=node.seconds or 0.0,
        middle=middle,
        check=slowest if lost > 0.0 else None,
        check_seconds=0.0 if slowest is None else node.durations[slowest],
        check_middle=0.0 if slowest is None else middles[slowest],
    )
