"""Finds other users of a GPU: processes that NVML names, or memory in use that no named process explains.

Inside a container NVML may show no processes; memory in use beyond the driver's own share then reveals others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from plimsoll.node.node import Unread
from plimsoll.units import format_bytes

WARN, FAIL, WAIT = "warn", "fail", "wait"
CHOICES: Final = (WARN, FAIL, WAIT)
"""The ways to handle others; the first is the default."""

_DRIVERS_OWN: Final = 2**30
_DRIVERS_PART: Final = 0.015
"""GPU memory that a driver keeps for itself: 0.6 GB of an H200's 150 was seen; MIG, ECC and fabric add some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """What others hold of one GPU."""

    processes: tuple[tuple[int, int | None], ...]
    """The pid and bytes of each process; bytes are None where NVML does not give them."""
    used: int | None
    """Bytes in use in total."""
    total: int | None

    @property
    def unnamed(self) -> int | None:
        """Bytes in use beyond the named processes and the driver's share; None for none, or where it is not known."""
        if self.used is None or self.total is None or self.processes:
            return None
        return self.used if self.used > _DRIVERS_OWN + _DRIVERS_PART * self.total else None

    @property
    def held(self) -> int | None:
        """Bytes that others hold; None where others are there and their bytes are unknown."""
        if not self.processes:
            return self.unnamed or 0
        sizes = [size for _, size in self.processes]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def are_there(self) -> bool:
        """True where others use the GPU."""
        return bool(self.processes) or self.unnamed is not None

    def __str__(self) -> str:
        if self.processes:
            each = ", ".join(f"{pid} ({'unknown' if n is None else format_bytes(n)})" for pid, n in self.processes)
            return f"used by {'process' if len(self.processes) == 1 else 'processes'} {each}"
        if self.unnamed is not None:
            return f"{format_bytes(self.unnamed)} in use by nobody that NVML names: outside of this container, perhaps"
        return "used by nobody else"


def read_tenants(index: int, own: Collection[int] = (), instance: str | None = None) -> Tenants | Unread:
    """Who else uses the GPU of this NVML index, or its instance (MIG) of this UUID, where others may have the rest of
    the GPU. `own` are the pids of this run. Returns the reason where it cannot be read."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Unread(what="gpus", why=f"NVML did not start: {error}", code=error.value)
    try:
        asked = pynvml.nvmlDeviceGetHandleByUUID if instance else pynvml.nvmlDeviceGetHandleByIndex
        return _read(pynvml, asked(instance or index), own)
    except pynvml.NVMLError as error:
        return Unread(what=f"gpus[{index}]", why=f"NVML says: {error}", code=error.value)
    finally:
        pynvml.nvmlShutdown()


def _read(nvml: Any, handle: Any, own: Collection[int]) -> Tenants:
    """Raises NVMLError, even where NVML gives neither processes nor memory: that does not mean an unused GPU."""
    processes: dict[int, int | None] = {}
    answered = False
    for query in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            found = query(handle)
        except nvml.NVMLError_NotSupported:
            continue  # the memory in use then decides
        answered = True
        processes |= {int(each.pid): each.usedGpuMemory for each in found if int(each.pid) not in own}
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        if not answered:
            raise
        return Tenants(processes=tuple(processes.items()), used=None, total=None)
    return Tenants(processes=tuple(processes.items()), used=int(memory.used), total=int(memory.total))
