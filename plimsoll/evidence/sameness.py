"""Compares the node and software of two runs.

Only results from the same node and software may share one verdict; otherwise a reader must be told what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from plimsoll.evidence.record import RunHead
from plimsoll.node.node import Gpu, Node

_NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackDifference:
    """One difference; None where a side does not have the item."""

    what: str
    first: str | None
    second: str | None

    def __str__(self) -> str:
        """`torch: 2.12.0 there, 2.13.0 here` reads well for a first that is past and a second that is present."""
        return f"{self.what}: {self.first or _NOTHING} there, {self.second or _NOTHING} here"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBasis:
    """What the figures of a run depend on: the machine, its software, and the limits."""

    facts: Mapping[str, str | None]
    """Host, GPUs, driver, CUDA, kernel, Python, Plimsoll and packages, by name."""
    catalogues: Mapping[str, str]
    """SHA-256 of each catalogue file -> its path."""

    @classmethod
    def of(cls, node: Node, *, plimsoll: str, catalogues: tuple[Mapping[str, object], ...]) -> Self:
        """The basis for a node with this version of Plimsoll and these catalogue files (`path`, `sha256`)."""
        facts = {
            "host name": node.hostname,
            "GPUs": ", ".join(map(_gpu, node.gpus)) or None,
            "driver": node.driver,
            "CUDA": node.cuda,
            "kernel": node.kernel,
            "Python": node.python,
            **dict(node.packages),
            "plimsoll": plimsoll,
        }
        return cls(facts=facts, catalogues={str(file["sha256"]): str(file["path"]) for file in catalogues})

    @classmethod
    def recorded(cls, node: Node, head: RunHead) -> Self:
        """The basis of a run, from its evidence."""
        return cls.of(node, plimsoll=head.plimsoll, catalogues=head.catalogues)

    def differences(self, other: RunBasis) -> tuple[StackDifference, ...]:
        """The differences in a fixed order: the machine, its software, the limits."""
        names = dict.fromkeys((*self.facts, *other.facts))
        unlike = [
            StackDifference(what=name, first=self.facts.get(name), second=other.facts.get(name))
            for name in names
            if self.facts.get(name) != other.facts.get(name)
        ]
        gone = [
            StackDifference(what="catalogue file", first=path, second=None)
            for digest, path in self.catalogues.items()
            if digest not in other.catalogues
        ]
        new = [
            StackDifference(what="catalogue file", first=None, second=path)
            for digest, path in other.catalogues.items()
            if digest not in self.catalogues
        ]
        return (*unlike, *gone, *new)


def _gpu(gpu: Gpu) -> str:
    """What identifies a device: the UUID, else all that is known."""
    return gpu.uuid or f"{gpu.name or 'unnamed'} {gpu.serial or ''}".strip()
