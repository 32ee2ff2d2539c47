"""Measures GPU memory around and after a load, by torch's allocator and by NVML, side by side.

The allocator does not see the CUDA context, and NVML sees what the allocator merely keeps and what other tenants hold;
neither can replace the other, so both are reported, and a report says which one is judged. A thread samples what
NVML says, because only the allocator keeps its own peaks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pynvml
import torch

from plimsoll.host.protocol import GpuMemory, GpuReleased
from plimsoll.host.server.gpu_sampler import GpuSampler, MemorySample, higher

_INSTANCE: Final = "MIG-"
_COPIED: Final = 32 * 2**20
_COPIES: Final = 16
"""Bytes and times that are copied to see the link at work: some ten milliseconds."""
_WARM_UP: Final = 256
"""Rows of the product that brings in cuBLAS and its kernels."""


class GpuMeter:
    """Memory of some GPUs from now on. Making one creates the CUDA contexts, and measures what they take."""

    def __init__(self, devices: Sequence[torch.device]) -> None:
        nvml = _Nvml() if devices else None
        # A context can be measured once, by what was in use before CUDA was asked anything at all.
        fresh = nvml is not None and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        before = nvml.used_by_uuid() if nvml is not None and fresh else {}
        self._gpus = [_Gpu(device, nvml, before) for device in devices if nvml is not None]
        self._sampler = GpuSampler([gpu.look for gpu in self._gpus], [gpu.look_closely for gpu in self._gpus])
        if self._gpus:
            self._sampler.start()

    def result(self) -> tuple[GpuMemory, ...]:
        """What each GPU holds now, and its peaks since this meter was made."""
        for gpu in self._gpus:
            gpu.synchronize()
        cost = self._sampler.cost()
        return tuple(
            replace(gpu.result(), **self._sampler.track(place), interval=cost.interval, cost=cost.share)
            for place, gpu in enumerate(self._gpus)
        )

    def stop(self) -> None:
        """End the thread that samples. Safe to call again."""
        self._sampler.stop()

    def released(self) -> tuple[GpuReleased, ...]:
        """What each GPU still holds, beside what it held when this meter was made: for after the model was dropped."""
        for gpu in self._gpus:
            gpu.synchronize()
        return tuple(gpu.released() for gpu in self._gpus)


class _Gpu:
    def __init__(self, device: torch.device, nvml: _Nvml, before: Mapping[str, int]) -> None:
        self._device = device
        self._nvml = nvml
        _warm_up(device)
        # By UUID: NVML counts all GPUs, CUDA those of CUDA_VISIBLE_DEVICES, in an order of its own.
        told = str(getattr(torch.cuda.get_device_properties(device), "uuid", "")).removeprefix("GPU-")
        self._uuid = _visible_instance() or told
        self._handle = nvml.handle(self._uuid)
        self._context, self._method = self._take_context(before.get(self._uuid))
        self._link = self._link_while_copying()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        self._allocated_start = torch.cuda.memory_allocated(device)
        self._process_start = self._held_by_process()
        self._start = self._used()
        self._others = self._held_by_others()

    def _take_context(self, earlier: int | None) -> tuple[int | None, str]:
        """What the process holds that the allocator does not know of, and how that was found.

        NVML's figure for this process says it; where there is none (containers, MIG, WSL), what was in use before does,
        unless somebody else took or gave back memory in between, which a figure below zero shows.
        """
        reserved = torch.cuda.memory_reserved(self._device)
        process = self._held_by_process()
        if process is not None and process >= reserved:
            return process - reserved, "process"
        used = self._used()
        if earlier is None or used is None or used - earlier < reserved:
            return None, ""
        return used - earlier - reserved, "device"

    def _link_while_copying(self) -> tuple[int | None, int | None]:
        """Generation and width of the PCIe link at their best while a block is copied: at rest the link trains down,
        and a small model is copied too quickly to be sampled."""
        if self._handle is None:
            return None, None
        block = torch.zeros(_COPIED, dtype=torch.uint8)
        into = torch.zeros(_COPIED, dtype=torch.uint8, device=self._device)
        best: tuple[int | None, int | None] = (None, None)
        for _ in range(_COPIES):
            into.copy_(block, non_blocking=True)
            best = higher(best[0], self._nvml.generation(self._handle)), higher(best[1], self._nvml.width(self._handle))
        torch.cuda.synchronize(self._device)
        return best

    def _used(self) -> int | None:
        return None if self._handle is None else self._nvml.used(self._handle)

    def _held_by_process(self) -> int | None:
        return None if self._handle is None else self._nvml.process(self._handle)

    def _held_by_others(self) -> int | None:
        return None if self._handle is None else self._nvml.others(self._handle)

    @property
    def look(self) -> Callable[[], int | None]:
        """What is cheap enough for every hundredth of a second: reads the bytes in use on the device, by anyone."""
        return self._nvml.reader(self._handle)

    def look_closely(self) -> MemorySample:
        """The rest: this process, and torch's allocator."""
        return MemorySample(
            device=self._used(),
            process=self._held_by_process(),
            allocated=torch.cuda.memory_allocated(self._device),
            reserved=torch.cuda.memory_reserved(self._device),
        )

    def synchronize(self) -> None:
        """Wait for what the device still does."""
        torch.cuda.synchronize(self._device)

    def result(self) -> GpuMemory:
        used = self._used()
        return GpuMemory(
            device=str(self._device),
            uuid=self._uuid or None,
            allocated_after=torch.cuda.memory_allocated(self._device),
            allocated_peak=torch.cuda.max_memory_allocated(self._device),
            reserved_after=torch.cuda.memory_reserved(self._device),
            reserved_peak=torch.cuda.max_memory_reserved(self._device),
            context=self._context,
            context_by=self._method,
            process=self._held_by_process(),
            device_before=self._start,
            device_after=used,
            device_delta=None if used is None or self._start is None else used - self._start,
            others_before=self._others,
            others_after=self._held_by_others(),
            pcie_generation=self._link[0],
            pcie_width=self._link[1],
        )

    def released(self) -> GpuReleased:
        return GpuReleased(
            device=str(self._device),
            uuid=self._uuid or None,
            allocated_before=self._allocated_start,
            allocated_after=torch.cuda.memory_allocated(self._device),
            reserved_after=torch.cuda.memory_reserved(self._device),
            process_before=self._process_start,
            process_after=self._held_by_process(),
            device_before=self._start,
            device_after=self._used(),
        )


def _visible_instance() -> str | None:
    """The UUID of the instance of a split GPU (MIG) that is all this process sees; None where it sees whole GPUs. Some
    releases of CUDA give the UUID of the whole GPU for an instance."""
    name = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    return name.removeprefix(_INSTANCE) if name.startswith(_INSTANCE) else None


def _warm_up(device: torch.device) -> None:
    """Make the context, and bring in what every model uses: kernels are loaded when they are first needed, and cuBLAS
    takes its handle and workspace with its first product."""
    square = torch.zeros(_WARM_UP, _WARM_UP, device=device)
    _ = square @ square
    torch.cuda.synchronize(device)


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
        """The device of that UUID, given without its prefix: a MIG instance, or else a whole GPU."""
        for prefix in (_INSTANCE, "GPU-"):
            if found := self._ask(pynvml.nvmlDeviceGetHandleByUUID, f"{prefix}{uuid}"):
                return found
        return None

    def used_by_uuid(self) -> dict[str, int]:
        """Bytes in use on every whole GPU, by UUID without prefix; those that do not answer are left out."""
        used: dict[str, int] = {}
        for index in range(self._ask(pynvml.nvmlDeviceGetCount) or 0):
            handle = self._ask(pynvml.nvmlDeviceGetHandleByIndex, index)
            uuid = None if handle is None else self._ask(pynvml.nvmlDeviceGetUUID, handle)
            count = None if uuid is None else self.used(handle)
            if count is not None:
                used[str(uuid).removeprefix("GPU-")] = count
        return used

    def used(self, handle: Any) -> int | None:
        """Bytes in use on the device, by anyone."""
        memory = self._ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
        return None if memory is None else int(memory.used)

    def reader(self, handle: Any) -> Callable[[], int | None]:
        """Reads `used` of a device with as few calls as can be: a thread that wakes has each of them to fetch anew."""
        ask, no_answer = pynvml.nvmlDeviceGetMemoryInfo, pynvml.NVMLError

        def read() -> int | None:
            try:
                return int(ask(handle).used)
            except no_answer:
                return None

        return read if self._present and handle is not None else lambda: None

    def process(self, handle: Any) -> int | None:
        """Bytes that this process holds on the device; process ids do not match inside a PID namespace."""
        processes: Iterable[Any] = self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
        mine = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
        return int(mine[0]) if mine and mine[0] is not None else None

    def others(self, handle: Any) -> int | None:
        """Bytes that all other processes hold on the device; None where this process is not told from them, or the
        figure of one is missing."""
        processes = self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        if processes is None:
            return None
        others = [process.usedGpuMemory for process in processes if process.pid != os.getpid()]
        if len(others) == len(processes) or None in others:
            return None
        return sum(map(int, others))

    def generation(self, handle: Any) -> int | None:
        """The PCIe link's generation at this moment."""
        found = self._ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle)
        return None if found is None else int(found)

    def width(self, handle: Any) -> int | None:
        """Its lanes."""
        found = self._ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle)
        return None if found is None else int(found)

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        if not self._present:
            return None
        try:
            return question(*arguments)
        except pynvml.NVMLError:
            return None
