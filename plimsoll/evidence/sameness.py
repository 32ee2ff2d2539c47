"""Compares the node, software and weights of two runs.

Only results from the same node and software may share one verdict; otherwise a reader must be told what differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from plimsoll.evidence.record import RunHead, RunRecord
from plimsoll.hub.vouching import FileState
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


def weights_of_folders(run: RunRecord) -> Iterator[tuple[str, Mapping[str, FileState]]]:
    """Each model of a run that was loaded from a folder on its disk, with the files as they were; older evidence has
    none."""
    for event in run.hub:
        model, files = event.get("model"), event.get("files")
        if event.get("state") == "vouched" and isinstance(model, str) and isinstance(files, dict):
            states = {str(name): _state(told) for name, told in files.items()}
            yield model, {name: state for name, state in states.items() if state is not None}


def commits_of_the_hub(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Each repository that a run loaded from, with the revision that was asked for, and the commit that this was."""
    for event in run.hub:
        if event.get("state") == "fetched" and isinstance(commit := event.get("commit"), str):
            revision = event.get("revision")
            yield f"{event.get('repository')}{f'@{revision}' if revision else ''}", commit


def _state(told: Any) -> FileState | None:
    match told:
        case [int(size), int(mtime_ns), str() | None as digest]:
            return FileState(bytes=size, mtime_ns=mtime_ns, digest=digest)
    return None


def _gpu(gpu: Gpu) -> str:
    """What identifies a device: the UUID, else all that is known."""
    return gpu.uuid or f"{gpu.name or 'unnamed'} {gpu.serial or ''}".strip()
