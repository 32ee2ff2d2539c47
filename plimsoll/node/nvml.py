"""Reads the GPUs through NVML, without a CUDA context, so that no GPU memory is used.

A query that a card cannot answer (consumer cards have no serial number) leaves only that field unread, and a GPU that
has fallen off the bus stays in the list with nothing read: a node of eight that shows seven is a finding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from plimsoll.node.node import Gpu, MigInstance, Unread

T = TypeVar("T")

_LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics:
    """NVML's answers; `gpus` is empty where there is no driver, and `unread` then says why."""

    driver: str | None = None
    cuda: str | None = None
    gpus: tuple[Gpu, ...] = ()
    unread: tuple[Unread, ...]


def read_graphics() -> Graphics:
    """Ask NVML for the driver and every GPU; never raises for lack of a driver or an answer."""
    try:
        import pynvml
    except ImportError:
        return Graphics(unread=(Unread(what="gpus", why="the package nvidia-ml-py is not installed"),))
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return Graphics(unread=(Unread(what="gpus", why=_why_no_library(), code=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND),))
    except pynvml.NVMLError as error:
        return Graphics(unread=(Unread(what="gpus", why=f"NVML did not start: {error}", code=error.value),))
    try:
        return _Session(nvml=pynvml).graphics()
    finally:
        pynvml.nvmlShutdown()


def _why_no_library() -> str:
    """A sentence, and the dynamic loader's error behind it; pynvml does not tell whether the library is absent or
    broken."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        is_absent = str(error).startswith(f"{_LIBRARY}: cannot open shared object file: No such file")
        what = "no NVIDIA driver is installed" if is_absent else "the library of the NVIDIA driver does not load"
        return f"{what} ({error})"
    return f"the library of the NVIDIA driver, {_LIBRARY}, did not load at first"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """NVML while it is initialised, and the queries that it did not answer."""

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
                lost=self._why_lost(at),
            )
        unified, memory = self._memory(at, handle)
        split = self._ask(f"{at}.mig", lambda: self._is_split(handle))
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
            mig=split,
            instances=self._instances(at, handle) if split else (),
            unified=unified and not split,
            lost=self._why_lost(at),
        )

    def _memory(self, at: str, handle: Any) -> tuple[bool, Any]:
        """Whether the GPU uses the machine's RAM, and NVML's figures of its own memory."""
        try:
            return False, self.nvml.nvmlDeviceGetMemoryInfo(handle)
        except self.nvml.NVMLError_NotSupported:
            # The answer of a GPU that shares the machine's RAM, of which NVML has no figures.
            return True, None
        except self.nvml.NVMLError as error:
            self.unread.append(Unread(what=f"{at}.memory", why=f"NVML says: {error}", code=error.value))
            return False, None

    def _why_lost(self, at: str) -> str | None:
        """NVML's error for a GPU that is gone; None where only the permission is missing, or the query is not
        supported."""
        lost = (self.nvml.NVML_ERROR_GPU_IS_LOST, self.nvml.NVML_ERROR_RESET_REQUIRED)
        unanswered = (*lost, self.nvml.NVML_ERROR_UNKNOWN, self.nvml.NVML_ERROR_TIMEOUT, self.nvml.NVML_ERROR_IRQ_ISSUE)
        for entry in self.unread:
            whole, part = entry.what == at, entry.what.startswith(f"{at}.")
            if (whole and entry.code in unanswered) or (part and entry.code in lost):
                return entry.why
        return None

    def _instances(self, at: str, handle: Any) -> tuple[MigInstance, ...]:
        """The parts of a split GPU. A missing part is an answer; one that cannot be read is noted."""
        nvml = self.nvml
        count = self._ask(f"{at}.instances", lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle))
        found = (self._instance(f"{at}.instances[{number}]", handle, number) for number in range(count or 0))
        return tuple(instance for instance in found if instance is not None)

    def _instance(self, at: str, handle: Any, number: int) -> MigInstance | None:
        nvml = self.nvml
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError_NotFound:
            return None
        except nvml.NVMLError as error:
            self.unread.append(Unread(what=at, why=f"NVML says: {error}", code=error.value))
            return None
        uuid = self._ask(f"{at}.uuid", lambda: nvml.nvmlDeviceGetUUID(part))
        if uuid is None:
            return None
        memory = self._ask(f"{at}.memory", lambda: nvml.nvmlDeviceGetMemoryInfo(part))
        return MigInstance(
            uuid=uuid,
            name=self._ask(f"{at}.name", lambda: nvml.nvmlDeviceGetName(part)),
            memory_total=None if memory is None else memory.total,
            memory_free=None if memory is None else memory.free,
        )

    def _is_split(self, handle: Any) -> bool:
        try:
            current, _pending = self.nvml.nvmlDeviceGetMigMode(handle)
        except self.nvml.NVMLError_NotSupported:
            # The documented answer of a card that cannot be split: an answer, not a missing one.
            return False
        return bool(current == self.nvml.NVML_DEVICE_MIG_ENABLE)

    def _ask(self, what: str, query: Callable[[], T]) -> T | None:
        """The answer of a query, or None with a note of the reason."""
        try:
            return query()
        except (self.nvml.NVMLError, UnicodeDecodeError) as error:
            code = None if isinstance(error, UnicodeDecodeError) else error.value
            self.unread.append(Unread(what=what, why=f"NVML says: {error}", code=code))
            return None
