"""The GPUs, asked through NVML: no CUDA context is made, so nothing here takes GPU memory.

A query that one card cannot answer (consumer cards have no serial number) leaves that one field unread, and a GPU
that has fallen off the bus stays in the list with nothing read: a node of eight that shows seven is a finding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from plimsoll.node.node import Gpu, Unread

T = TypeVar("T")

_LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics:
    """What NVML said; `gpus` is empty where there is no driver, and `unread` then says why."""

    driver: str | None = None
    cuda: str | None = None
    gpus: tuple[Gpu, ...] = ()
    unread: tuple[Unread, ...]


def read_graphics() -> Graphics:
    """Ask NVML for the driver and every GPU; never raises for want of a driver or an answer."""
    try:
        import pynvml
    except ImportError:
        return Graphics(unread=(Unread(what="gpus", why="the package nvidia-ml-py is not installed"),))
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return Graphics(unread=(Unread(what="gpus", why=f"no NVIDIA driver: {_loader_error()}"),))
    except pynvml.NVMLError as error:
        return Graphics(unread=(Unread(what="gpus", why=f"NVML did not start: {error}"),))
    try:
        return _Session(nvml=pynvml).graphics()
    finally:
        pynvml.nvmlShutdown()


def _loader_error() -> str:
    """What the dynamic loader says; pynvml keeps to itself whether the library is absent or broken."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        return str(error)
    return f"{_LIBRARY} did not load"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """NVML while it is initialised, and what it would not tell."""

    nvml: Any
    unread: list[Unread] = field(default_factory=list)

    def graphics(self) -> Graphics:
        driver = self._ask("driver", self.nvml.nvmlSystemGetDriverVersion)
        cuda = self._ask("cuda", self.nvml.nvmlSystemGetCudaDriverVersion_v2)
        count = self._ask("gpus", self.nvml.nvmlDeviceGetCount)
        gpus = tuple(self._gpu(index) for index in range(count or 0))
        return Graphics(
            driver=driver,
            cuda=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            gpus=gpus,
            unread=tuple(self.unread),
        )

    def _gpu(self, index: int) -> Gpu:
        nvml, at = self.nvml, f"gpus[{index}]"
        handle = self._ask(at, lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        if handle is None:
            return Gpu(
                index=index,
                name=None,
                uuid=None,
                serial=None,
                vbios=None,
                memory_total=None,
                memory_free=None,
                compute_capability=None,
                mig=None,
            )
        memory = self._ask(f"{at}.memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        capability = self._ask(f"{at}.compute_capability", lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
        return Gpu(
            index=index,
            name=self._ask(f"{at}.name", lambda: nvml.nvmlDeviceGetName(handle)),
            uuid=self._ask(f"{at}.uuid", lambda: nvml.nvmlDeviceGetUUID(handle)),
            serial=self._ask(f"{at}.serial", lambda: nvml.nvmlDeviceGetSerial(handle)),
            vbios=self._ask(f"{at}.vbios", lambda: nvml.nvmlDeviceGetVbiosVersion(handle)),
            memory_total=None if memory is None else memory.total,
            memory_free=None if memory is None else memory.free,
            compute_capability=None if capability is None else f"{capability[0]}.{capability[1]}",
            mig=self._ask(f"{at}.mig", lambda: self._is_split(handle)),
        )

    def _is_split(self, handle: Any) -> bool:
        try:
            current, _pending = self.nvml.nvmlDeviceGetMigMode(handle)
        except self.nvml.NVMLError_NotSupported:
            # The documented answer of a card that cannot be split: an answer, not the want of one.
            return False
        return bool(current == self.nvml.NVML_DEVICE_MIG_ENABLE)

    def _ask(self, what: str, query: Callable[[], T]) -> T | None:
        """The query's answer, or None with a note of why there is none."""
        try:
            return query()
        except (self.nvml.NVMLError, UnicodeDecodeError) as error:
            self.unread.append(Unread(what=what, why=f"NVML says: {error}"))
            return None
