"""Measures the bytes in use in each phase of a training step, by the allocator's own account.

On a CPU torch's profiler writes down every block that its allocator gives and takes back; on a GPU the allocator keeps
the figures itself. The prediction counts tensors in a dispatch mode; an account of blocks shares no code with that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from bitsandbytes.autograd._functions import MatmulLtState
from bitsandbytes.functional import QuantState
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from plimsoll.footprint.training import Phase
from plimsoll.host.server.repeatable import one_thread

_MARK: Final = "plimsoll phase "


@dataclass(frozen=True, slots=True)
class PhaseBytes:
    """Bytes that the allocator had given out, over what there was when the step began."""

    phase: Phase
    before: int
    after: int
    peak: int


Work = Sequence[tuple[Phase, Callable[[], object]]]
"""The phases of a step in their order, and what is done in each."""


class Meter(Protocol):
    """Does the work of a step, and says what each of its phases took."""

    method: str

    def measure(self, work: Work) -> list[PhaseBytes]:
        """The bytes of each phase."""


def meter_for(device: torch.device) -> Meter:
    """The meter of a device."""
    return _CudaMeter(device) if device.type == "cuda" else _CpuMeter()


class _CpuMeter:
    method = "torch's profiler of the CPU allocator"

    def measure(self, work: Work) -> list[PhaseBytes]:
        # Each thread has a scratch of its own in a CPU's fused attention, which on a node of 64 cores is more than a
        # small model's step, and which a GPU has not.
        with one_thread(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as book:
            for number, (_, do) in enumerate(work):
                with record_function(f"{_MARK}{number}"):
                    do()
        kept: Any = book.profiler
        events = kept.kineto_results.events()
        began = {event.name(): event.start_ns() for event in events if event.name().startswith(_MARK)}
        starts = [began[f"{_MARK}{number}"] for number in range(len(work))]
        blocks = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
        return by_phase([phase for phase, _ in work], starts, blocks)


def by_phase(phases: Sequence[Phase], starts: Sequence[int], blocks: Iterable[tuple[int, int]]) -> list[PhaseBytes]:
    """What each phase took, from the moments at which they began and those at which blocks were given (or, below zero,
    taken back)."""
    found: list[PhaseBytes] = []
    live = before = peak = 0
    waiting = list(zip(phases, starts, strict=True))
    current: Phase | None = None
    for moment, size in [*blocks, (2**63 - 1, 0)]:
        while waiting and moment >= waiting[0][1]:
            if current is not None:
                found.append(PhaseBytes(current, before, live, peak))
            current, before, peak = waiting.pop(0)[0], live, live
        live += size
        peak = max(peak, live)
    return [*found, *([] if current is None else [PhaseBytes(current, before, live, peak)])]


class _CudaMeter:
    method = "torch's CUDA allocator"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def measure(self, work: Work) -> list[PhaseBytes]:
        found = []
        start = self._allocated()
        for phase, do in work:
            before = self._allocated()
            torch.cuda.reset_peak_memory_stats(self._device)
            do()
            after = self._allocated()
            peak = torch.cuda.max_memory_allocated(self._device)
            found.append(PhaseBytes(phase, before - start, after - start, peak - start))
        return found

    def _allocated(self) -> int:
        torch.cuda.synchronize(self._device)
        return torch.cuda.memory_allocated(self._device)


def held_tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """All tensors that a module stores: parameters, buffers, and the statistics of packed experts."""
    yield from module.parameters()
    yield from module.buffers()
    for part in module.modules():
        yield from _statistics(getattr(part, "quant_state", None))
        # LLM.int8 takes a weight's scales away from it with the first pass.
        yield from _statistics(getattr(part, "state", None))


def stored_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of the memory of these tensors, shared memory once; what quantization keeps beside a weight with it."""
    seen: dict[int, int] = {}
    for tensor in _with_statistics(tensors):
        storage = tensor.untyped_storage()
        seen[storage._cdata] = storage.nbytes()  # noqa: SLF001  torch offers no other identity
    return sum(seen.values())


def _with_statistics(tensors: Iterable[Any]) -> Iterable[torch.Tensor]:
    for tensor in tensors:
        if isinstance(tensor, torch.Tensor):
            yield tensor
            yield from _statistics(getattr(tensor, "quant_state", None))
            for name in ("SCB", "CB"):
                if isinstance(scales := getattr(tensor, name, None), torch.Tensor):
                    yield scales


def _statistics(state: object) -> Iterator[torch.Tensor]:
    """The tensors of bitsandbytes' state of a packed weight, and of the state of its statistics."""
    # By its class: a module of another's may call anything its state.
    for part in (state, getattr(state, "state2", None)):
        if isinstance(part, (QuantState, MatmulLtState)):
            yield from (value for value in vars(part).values() if isinstance(value, torch.Tensor))
