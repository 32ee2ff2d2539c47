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
_SMAPS: Final = Path("/proc/self/smaps")
_RESET_PEAK: Final = "5"
"""What clear_refs takes for "set the high-water mark back to the resident size of now"."""
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
        self._sampler: _Sampler | None = None

    def __enter__(self) -> Self:
        if not _reset_high_water_mark():
            self._sampler = _Sampler()
            self._sampler.start()
        self._before = resident_bytes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._after = resident_bytes()
        peak = self._sampler.stop() if self._sampler else _high_water_mark()
        # The kernel sums its counters up lazily, so the mark may lag behind a reading by some pages.
        self._peak = max(peak, self._before, self._after)

    def result(self, mapped_files: Collection[Path] = ()) -> HostMemory:
        """What was measured; of `mapped_files`, also how much is mapped at this moment."""
        mapped, resident = mapped_bytes(mapped_files) if mapped_files else (None, None)
        return HostMemory(
            before=self._before,
            peak=self._peak,
            after=self._after,
            method="sampled every 10 ms" if self._sampler else "VmHWM, reset before loading",
            mapped=mapped,
            mapped_resident=resident,
        )


def _reset_high_water_mark() -> bool:
    """False where there is no such mark or it may not be written: other systems, hardened containers."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _high_water_mark() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def mapped_bytes(files: Collection[Path]) -> tuple[int | None, int | None]:
    """Bytes of the files that this process maps, and how many of those are resident; None where /proc tells neither."""
    if not _SMAPS.exists():
        return None, None
    wanted = {str(file.resolve()) for file in files}
    mapped = resident = 0
    inside = False
    with _SMAPS.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, rest = line.partition(" ")
            if not name.endswith(":"):
                # A mapping's first line: range, permissions, offset, device, inode, path.
                inside = line.split(maxsplit=5)[-1].rstrip("\n") in wanted
            elif inside and name in ("Size:", "Rss:"):
                kilobytes = int(rest.split()[0])
                mapped, resident = (mapped + kilobytes, resident) if name == "Size:" else (mapped, resident + kilobytes)
    return mapped * 1024, resident * 1024


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
