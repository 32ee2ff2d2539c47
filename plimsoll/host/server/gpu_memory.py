"""Memory of GPUs around a load, by torch's allocator and by NVML, side by side.

The allocator does not see the CUDA context, and NVML sees what the allocator merely keeps and what other tenants hold;
neither may stand in for the other, so both are reported and a report says which one is judged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pynvml
import torch

from plimsoll.host.protocol import GpuMemory


class GpuMeter:
    """Memory of some GPUs around a load. Making one creates the CUDA contexts, and measures what they take."""

    def __init__(self, devices: Sequence[torch.device]) -> None:
        nvml = _Nvml() if devices else None
        # A context can be measured once, by what was in use before CUDA was asked anything at all.
        fresh = nvml is not None and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        before = nvml.used_by_uuid() if nvml is not None and fresh else {}
        self._gpus = [_Gpu(device, nvml, before) for device in devices if nvml is not None]

    def result(self) -> tuple[GpuMemory, ...]:
        """What each GPU holds now, and its peaks since this meter was made."""
        return tuple(gpu.result() for gpu in self._gpus)


class _Gpu:
    def __init__(self, device: torch.device, nvml: _Nvml, before: Mapping[str, int]) -> None:
        self._device = device
        self._nvml = nvml
        torch.zeros(1, device=device)
        torch.cuda.synchronize(device)
        # By UUID: NVML counts all GPUs, CUDA those of CUDA_VISIBLE_DEVICES, in an order of its own.
        uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", "")).removeprefix("GPU-")
        self._handle = nvml.handle(uuid)
        used, earlier = self._used(), before.get(uuid)
        self._context = None if used is None or earlier is None else used - earlier - torch.cuda.memory_reserved(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        self._start = self._used()

    def _used(self) -> int | None:
        return None if self._handle is None else self._nvml.used(self._handle)

    def result(self) -> GpuMemory:
        torch.cuda.synchronize(self._device)
        used = self._used()
        process = None if self._handle is None else self._nvml.process(self._handle)
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
        """The device of that UUID, given without its prefix: a MIG instance, or else a whole GPU."""
        for prefix in ("MIG-", "GPU-"):
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
