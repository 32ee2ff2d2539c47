"""Tells a GPU's memory four ways, and explains the difference: prediction, allocator, process, device.

The allocator's figure is the one that is judged: it is exact, and nobody else's memory is in it. The others say what a
GPU must have beside it: the context, what the pool keeps, other tenants; and what nothing explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from plimsoll.host.protocol import GpuReleased

JUDGED: Final = "torch's allocator (allocated, at its highest)"
BY_PROCESS: Final = "NVML's figure for the process"
BY_DEVICE: Final = "what the device grew by, for NVML does not tell processes apart here"
BY_NOTHING: Final = "nothing: NVML gives no figure here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One GPU that holds (a part of) a model; bytes, None where nobody knows."""

    device: str
    uuid: str | None
    allocated_peak: int
    reserved_peak: int
    process_peak: int | None
    device_peak: int | None
    pool: int
    """What the allocator keeps beside what is in use at this moment."""
    context: int | None
    others: int | None
    """What other processes hold."""
    held: int | None
    """What the process holds at this moment, by the figure that `by` names."""
    by: str
    unexplained: int | None
    """`held` without the pool and the context: kernels that were loaded since, and whatever else."""
    interval: float | None
    cost: float | None


def most_kept(gpus: Sequence[GpuReleased]) -> int | None:
    """Bytes that torch has still allocated on the GPU that keeps most, beside what it had before a load; None where no
    GPU was measured. Their sum would let one keep what all together may."""
    return max((gpu.allocated_after - gpu.allocated_before for gpu in gpus), default=None)


def account(memory: Mapping[str, Any]) -> Account:
    """The account of one GPU, from a GpuMemory as JSON data. Raises KeyError or TypeError for what is none."""
    reserved, context = int(memory["reserved_after"]), memory["context"]
    held, by = _held(memory)
    known = held is not None and context is not None
    return Account(
        device=str(memory["device"]),
        uuid=memory["uuid"],
        allocated_peak=int(memory["allocated_peak"]),
        reserved_peak=int(memory["reserved_peak"]),
        process_peak=memory["process_peak"],
        device_peak=memory["device_peak"],
        pool=reserved - int(memory["allocated_after"]),
        context=context,
        others=memory["others_after"],
        held=held,
        by=by,
        unexplained=held - reserved - context if known and held is not None else None,
        interval=memory["interval"],
        cost=memory["cost"],
    )


def _held(memory: Mapping[str, Any]) -> tuple[int | None, str]:
    """What the process holds. The device grew by what it took after its context, if nobody else came or went."""
    if memory["process"] is not None:
        return int(memory["process"]), BY_PROCESS
    if memory["device_delta"] is not None and memory["context"] is not None:
        return int(memory["device_delta"]) + int(memory["context"]), BY_DEVICE
    return None, BY_NOTHING
