"""Memory of the host and of its GPUs around a load.

For the host, the kernel's own high-water mark is exact and free; where it cannot be reset, a thread samples. For a
GPU, torch's allocator and NVML are read side by side: the first does not see the CUDA context, the second does not see
what the allocator merely keeps, and neither may stand in for the other.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil
import pynvml
import torch

from plimsoll.host.requests import GpuMemory, HostMemory

_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")
_MAPS: Final = Path("/proc/self/maps")
_RESET_PEAK: Final = "5"
"""What clear_refs takes for "set the high-water mark back to the resident size of now"."""
_FILE_PAGES: Final = "RssFile"
_HIGH_WATER_MARK: Final = "VmHWM"
_SLACK: Final = 4 * 2**20
"""Bytes by which two readings may differ because the kernel batches its counters."""
_INTERVAL: Final = 0.01


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


class HostMeter:
    """Resident memory before, at its highest, and after a `with` block, in bytes.

    with HostMeter() as meter:
        model = ...
    memory = meter.result(checkpoint_files)
    """

    def __init__(self) -> None:
        self._before = self._after = self._peak = 0
        self._files_before: int | None = None
        self._files_after: int | None = None
        self._sampler: _Sampler | None = None

    def __enter__(self) -> Self:
        if not _reset_high_water_mark():
            self._sampler = _Sampler()
            self._sampler.start()
        self._files_before = _status(_FILE_PAGES)
        self._before = resident_bytes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._after = resident_bytes()
        self._files_after = _status(_FILE_PAGES)
        peak = self._sampler.stop() if self._sampler else _status(_HIGH_WATER_MARK)
        # The kernel sums its counters up lazily, so the mark may lag behind a reading by some pages.
        self._peak = max(peak or 0, self._before, self._after)

    def result(self, mapped_files: Collection[Path] = ()) -> HostMemory:
        """What was measured; of `mapped_files`, also how much is mapped at this moment."""
        mapped = mapped_bytes(mapped_files) if mapped_files else None
        resident = None
        if mapped is not None and self._files_before is not None and self._files_after is not None:
            # What file pages grew by; asking each mapping for its own would walk every page of the process.
            resident = min(mapped, max(0, self._files_after - self._files_before))
        return HostMemory(
            before=self._before,
            peak=self._peak,
            after=self._after,
            method="sampled every 10 ms" if self._sampler else "VmHWM, reset before loading",
            mapped=mapped,
            mapped_resident=resident,
        )


def _reset_high_water_mark() -> bool:
    """False where there is no such mark, or it cannot be reset: other systems, hardened containers, sandboxes."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    mark = _status(_HIGH_WATER_MARK)
    # A write that was swallowed leaves the mark of earlier work, which would be taken for this load's peak.
    return mark is not None and mark <= resident_bytes() + _SLACK


def _status(field: str) -> int | None:
    """A figure of /proc/self/status in bytes; None where there is no such file or field."""
    if not _STATUS.exists():
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def mapped_bytes(files: Collection[Path]) -> int | None:
    """Bytes of the files that this process maps; None where the system does not tell."""
    if not _MAPS.exists():
        return None
    wanted = {str(file.resolve()) for file in files}
    total = 0
    for line in _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # Range, permissions, offset, device, inode, path; the path alone may have spaces, or be missing.
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] in wanted:
            start, end = (int(address, 16) for address in fields[0].split("-"))
            total += end - start
    return total


class _Sampler(threading.Thread):
    """Looks at the resident memory every 10 ms; short spikes between two looks escape it."""

    def __init__(self) -> None:
        super().__init__(name="plimsoll-memory-sampler", daemon=True)
        self._done = threading.Event()
        self._peak = 0

    def run(self) -> None:
        while not self._done.wait(_INTERVAL):
            self._peak = max(self._peak, resident_bytes())

    def stop(self) -> int:
        self._done.set()
        self.join()
        return self._peak


class GpuMeter:
    """Memory of some GPUs around a load. Making one creates the CUDA contexts, and measures what they take."""

    def __init__(self, devices: Sequence[torch.device]) -> None:
        # A context can be measured once, as what the first tensor takes from the device.
        first = bool(devices) and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        nvml = _Nvml() if devices else None
        self._gpus = [_Gpu(device, nvml, first=first) for device in devices]

    def result(self) -> tuple[GpuMemory, ...]:
        """What each GPU holds now, and its peaks since this meter was made."""
        return tuple(gpu.result() for gpu in self._gpus)


class _Gpu:
    def __init__(self, device: torch.device, nvml: _Nvml | None, *, first: bool) -> None:
        self._device = device
        self._nvml = nvml
        self._handle: Any = None
        before = self._used() if first and self._find() else None
        torch.zeros(1, device=device)
        torch.cuda.synchronize(device)
        self._find()
        self._start = self._used()
        self._context = None if before is None or self._start is None else self._start - before
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)

    def _find(self) -> bool:
        """Look the device up in NVML, by UUID: indexes differ under CUDA_VISIBLE_DEVICES. Makes no context."""
        if self._nvml is not None and self._handle is None:
            self._handle = self._nvml.handle(str(getattr(torch.cuda.get_device_properties(self._device), "uuid", "")))
        return self._handle is not None

    def _used(self) -> int | None:
        return None if self._nvml is None or self._handle is None else self._nvml.used(self._handle)

    def result(self) -> GpuMemory:
        torch.cuda.synchronize(self._device)
        used = self._used()
        process = None if self._nvml is None or self._handle is None else self._nvml.process(self._handle)
        return GpuMemory(
            device=str(self._device),
            allocated_after=torch.cuda.memory_allocated(self._device),
            allocated_peak=torch.cuda.max_memory_allocated(self._device),
            reserved_peak=torch.cuda.max_memory_reserved(self._device),
            context=self._context,
            process=process,
            device_delta=None if used is None or self._start is None else used - self._start,
        )


class _Nvml:
    """The few questions to NVML; each answer is None where NVML is absent or does not say (ROCm, WSL, containers)."""

    def __init__(self) -> None:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            self._present = False
        else:
            self._present = True

    def handle(self, uuid: str) -> Any:
        """The device of that UUID, a whole GPU or a MIG instance."""
        bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
        for name in (f"GPU-{bare}", f"MIG-{bare}"):
            if found := self._ask(pynvml.nvmlDeviceGetHandleByUUID, name):
                return found
        return None

    def used(self, handle: Any) -> int | None:
        """Bytes in use on the device, by anyone."""
        memory = self._ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
        return None if memory is None else int(memory.used)

    def process(self, handle: Any) -> int | None:
        """Bytes that this process holds on the device; process ids do not match inside a PID namespace."""
        processes: Iterable[Any] = self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
        mine = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
        return int(mine[0]) if mine and mine[0] is not None else None

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        if not self._present:
            return None
        try:
            return question(*arguments)
        except pynvml.NVMLError:
            return None
