"""Accounts for a GPU's memory in four ways (prediction, allocator, process, device) and explains the differences.

The allocator's figure is judged: it is exact, and contains no other process's memory. The others show what a GPU must
have besides: the context, the pool's reserve, other tenants, and an unexplained rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # who draws these accounts need not know what hosts are asked
    from plimsoll.host.protocol import GpuReleased

JUDGED: Final = "torch's allocator (allocated, at its highest)"
BY_PROCESS: Final = "NVML's figure for the process"
BY_DEVICE: Final = "what the device grew by, for NVML does not tell processes apart here"
BY_NOTHING: Final = "nothing: NVML gives no figure here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One GPU that holds (a part of) a model; bytes, None where unknown."""

    device: str
    uuid: str | None
    allocated_peak: int
    reserved_peak: int
    process_peak: int | None
    device_peak: int | None
    pool: int
    """Bytes that the allocator keeps beyond those in use now."""
    context: int | None
    others: int | None
    """What other processes hold."""
    held: int | None
    """Bytes that the process holds now, by the figure that `by` names."""
    by: str
    unexplained: int | None
    """`held` without the pool and the context: kernels that were loaded since, and anything else."""
    interval: float | None
    cost: float | None


def account(memory: Mapping[str, Any]) -> Account:
    """The account of one GPU, from a GpuMemory as JSON data. Raises KeyError or TypeError for anything else."""
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
    """Bytes that the process holds. Without a figure for the process, the device's growth stands in, which is right if
    no other process came or went."""
    if memory["process"] is not None:
        return int(memory["process"]), BY_PROCESS
    if memory["device_delta"] is not None and memory["context"] is not None:
        return int(memory["device_delta"]) + int(memory["context"]), BY_DEVICE
    return None, BY_NOTHING


def most_kept(gpus: Sequence[GpuReleased]) -> int | None:
    """Bytes that torch still has allocated on the GPU that keeps most, over what it had before a load; None where no
    GPU was measured. The sum over GPUs would allow one to keep what all may keep together."""
    return max((gpu.allocated_after - gpu.allocated_before for gpu in gpus), default=None)
