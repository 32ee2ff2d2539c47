"""Probes a node: the real machine, or a recorded one.

Everything downstream takes a `Node`, so a decision about an eight-GPU machine can be tried on a laptop with the file
that `plimsoll probe --json` wrote on that machine. Nothing here imports torch or asks the CUDA runtime.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.node.accelerators import read_accelerators
from plimsoll.node.cgroup import group_memory
from plimsoll.node.environment import relevant_environment
from plimsoll.node.node import Memory, Node, Unread, node_schema
from plimsoll.node.nvml import read_graphics
from plimsoll.node.processor import read_cpu
from plimsoll.node.stack import installed_packages, torch_cuda
from plimsoll.node.storage import hub_cache, read_disk
from plimsoll.usertoml.reading import read_file


class Probe(Protocol):
    """Something that can probe a node."""

    def probe(self) -> Node:
        """Probe the node now, anew at every call."""
        ...


@dataclass(frozen=True, slots=True)
class SystemProbe:
    """Probes the machine that this process runs on. `weights_path` is where weights will land; None for the folder that
    huggingface_hub would use."""

    weights_path: Path | None = None

    def probe(self) -> Node:
        """Read everything once; what could not be read is None and listed in `unread`."""
        cpu, cpu_unread = read_cpu()
        memory, memory_unread = read_memory()
        disk, disk_unread = read_disk(self.weights_path or hub_cache())
        graphics = read_graphics()
        accelerators, unseen = read_accelerators()
        return Node(
            hostname=platform.node(),
            system=_system(),
            kernel=platform.release(),
            python=platform.python_version(),
            cpu=cpu,
            memory=memory,
            disk=disk,
            gpus=graphics.gpus,
            driver=graphics.driver,
            cuda=graphics.cuda,
            packages=installed_packages(),
            torch_cuda=torch_cuda(),
            environment=relevant_environment(os.environ),
            unread=(*cpu_unread, *memory_unread, *disk_unread, *graphics.unread, *unseen),
            accelerators=accelerators,
        )


@dataclass(frozen=True, slots=True)
class RecordedProbe:
    """Reads a node that `Node.to_json` or `plimsoll probe --json` wrote to a file."""

    path: Path

    def probe(self) -> Node:
        """Read the file. Raises PlimsollError, with every fault, for one that is missing or holds no node."""
        # Imported here for the same reason as in node_schema.
        from pydantic import ValidationError

        try:
            text = read_file(self.path)
        except OSError as error:
            raise PlimsollError(f"{self.path}: cannot read the recorded node: {reason_of(error)}") from None
        try:
            node_schema().validate_json(text, strict=True)
            return Node.from_json(json.loads(text))
        except ValidationError as error:
            faults = [f"{_key(fault['loc']) or 'file'}: {fault['msg']}" for fault in error.errors()]
        except TypeError as error:
            # pydantic ignores unknown fields; the types themselves do not.
            faults = [str(error)]
        raise PlimsollError(
            "\n  ".join([f"{self.path}: not a recorded node (write one with `plimsoll probe --json`):", *faults])
        )


def read_memory() -> tuple[Memory, tuple[Unread, ...]]:
    """The machine's memory within the control group's limit, and what of it could not be read."""
    physical = psutil.virtual_memory()
    machine = Memory(total=physical.total, available=physical.available, limit=None)
    try:
        group = group_memory(physical.total)
    except (OSError, ValueError) as error:
        why = f"the memory limit of the control group cannot be read: {error}"
        return machine, (Unread(what="memory.limit", why=why),)
    if group is None:
        return machine, ()
    return Memory(total=group.limit, available=min(physical.available, group.available), limit=group.limit), ()


def _system() -> str:
    try:
        return f"{platform.system()}, {platform.freedesktop_os_release()['PRETTY_NAME']}"
    except (OSError, KeyError):
        return platform.system()


def _key(location: tuple[int | str, ...]) -> str:
    """`gpus[0].memory_total` from the parts of a location."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".")
