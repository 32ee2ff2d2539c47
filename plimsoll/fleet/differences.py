"""What is not the same on all nodes and GPUs of a fleet, with the few that differ named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.fleet.names import compressed, natural
from plimsoll.fleet.summary import NodeSummary

_ABSENT: Final = "none"
_FROM: Final = 2
"""Nodes, or GPUs of a product, from which anything can differ."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a value: a node, or some of its GPUs."""

    node: str
    gpus: tuple[str, ...] = ()
    """Empty where the node, or each of its GPUs, is meant."""

    def __str__(self) -> str:
        return f"{self.node} ({', '.join(self.gpus)})" if self.gpus else self.node


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Those that have one value."""

    value: str
    holders: tuple[Holder, ...]
    count: int
    """Nodes, or GPUs."""

    @property
    def named(self) -> str:
        """`gpu[01-07]`, `gpu08 (gpu2, gpu5)`."""
        whole = compressed(holder.node for holder in self.holders if not holder.gpus)
        return ", ".join([*([whole] if whole else []), *(str(holder) for holder in self.holders if holder.gpus)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs."""

    what: str
    product: str | None
    """Whose GPUs differ; None for what is a node's."""
    groups: tuple[Group, ...]
    """By value, the largest first."""

    @property
    def majority(self) -> Group | None:
        """Those that are more than half; None where there are none."""
        first = self.groups[0]
        return first if 2 * first.count > sum(group.count for group in self.groups) else None

    @property
    def minority(self) -> tuple[Group, ...]:
        """The others; all of them where none is more than half."""
        return self.groups[1:] if self.majority is not None else self.groups

    @property
    def nouns(self) -> str:
        """What is counted."""
        return "nodes" if self.product is None else "GPUs"


def find_differences(nodes: Sequence[NodeSummary]) -> tuple[Difference, ...]:
    """What differs, in the order of the facts: the machine, its software, its environment; then its GPUs."""
    known = [node for node in nodes if node.facts]
    names = dict.fromkeys(name for node in known for name in node.facts)
    of_nodes = (
        _difference(name, None, ((node, "", node.facts.get(name, _ABSENT)) for node in known)) for name in names
    )
    found = [*of_nodes, _difference("number of GPUs", None, ((node, "", str(len(node.gpus))) for node in known))]
    for product in sorted({gpu.product or "an unknown GPU" for node in known for gpu in node.gpus}):
        own = [(node, gpu) for node in known for gpu in node.gpus if (gpu.product or "an unknown GPU") == product]
        facts = dict.fromkeys(name for _, gpu in own for name in gpu.facts)
        found += [
            _difference(name, product, ((node, gpu.id, gpu.facts[name]) for node, gpu in own if name in gpu.facts))
            for name in facts
        ]
    return tuple(difference for difference in found if difference is not None)


def _difference(what: str, product: str | None, values: Iterable[tuple[NodeSummary, str, str]]) -> Difference | None:
    by_value: dict[str, dict[str, list[str]]] = {}
    sizes: dict[str, int] = {}
    for node, gpu, value in values:
        by_value.setdefault(value, {}).setdefault(node.name, []).append(gpu)
        sizes[node.name] = sizes.get(node.name, 0) + 1
    if len(by_value) < 2 or sum(sizes.values()) < _FROM:
        return None
    groups = [_group(value, holders, sizes) for value, holders in by_value.items()]
    groups.sort(key=lambda group: (-group.count, natural(group.value)))
    return Difference(what=what, product=product, groups=tuple(groups))


def _group(value: str, holders: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> Group:
    found = tuple(
        Holder(node, () if len(gpus) == sizes[node] else tuple(sorted(gpus, key=natural)))
        for node, gpus in sorted(holders.items(), key=lambda item: natural(item[0]))
    )
    return Group(value=value, holders=found, count=sum(map(len, holders.values())))
