"""Who else uses a GPU: processes that NVML names, or memory that is in use by nobody that it names.

Inside a container NVML may see neither the processes nor their numbers; what is in use beyond what a driver keeps for
itself then tells that somebody is there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from plimsoll.node.node import Unread
from plimsoll.units import format_bytes

WARN, FAIL, WAIT = "warn", "fail", "wait"
CHOICES: Final = (WARN, FAIL, WAIT)
"""What may be done about others; the first unless something else is asked."""

_DRIVERS_OWN: Final = 2**30
_DRIVERS_PART: Final = 0.015
"""What a driver keeps of a GPU's memory for itself: 0.6 GB of an H200's 150 was seen; MIG, ECC and fabric add some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """What others hold of one GPU."""

    processes: tuple[tuple[int, int | None], ...]
    """Number and bytes of each; None where NVML does not tell the bytes."""
    used: int | None
    """Bytes in use by anybody."""
    total: int | None

    @property
    def unnamed(self) -> int | None:
        """Bytes in use by nobody that NVML names, beyond what a driver keeps; None where there are none, or where it is
        not known."""
        if self.used is None or self.total is None or self.processes:
            return None
        return self.used if self.used > _DRIVERS_OWN + _DRIVERS_PART * self.total else None

    @property
    def held(self) -> int | None:
        """Bytes that others hold; None where there are some, and nobody tells how much."""
        if not self.processes:
            return self.unnamed or 0
        sizes = [size for _, size in self.processes]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def are_there(self) -> bool:
        """True where somebody is."""
        return bool(self.processes) or self.unnamed is not None

    def __str__(self) -> str:
        if self.processes:
            each = ", ".join(f"{pid} ({'unknown' if n is None else format_bytes(n)})" for pid, n in self.processes)
            return f"used by {'process' if len(self.processes) == 1 else 'processes'} {each}"
        if self.unnamed is not None:
            return f"{format_bytes(self.unnamed)} in use by nobody that NVML names: outside of this container, perhaps"
        return "used by nobody else"


def read_tenants(index: int, own: Collection[int] = (), instance: str | None = None) -> Tenants | Unread:
    """Who else uses the GPU of NVML's number, or the instance of it (MIG) of this UUID: others may have the rest of the
    GPU. `own` are processes of this run. Says why where it cannot be read."""
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
    """Raises NVMLError, also where neither processes nor memory are told: that is no empty GPU."""
    processes: dict[int, int | None] = {}
    answered = False
    for query in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            found = query(handle)
        except nvml.NVMLError_NotSupported:
            continue  # the memory in use tells what there is to be told
        answered = True
        processes |= {int(each.pid): each.usedGpuMemory for each in found if int(each.pid) not in own}
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        if not answered:
            raise
        return Tenants(processes=tuple(processes.items()), used=None, total=None)
    return Tenants(processes=tuple(processes.items()), used=int(memory.used), total=int(memory.total))
