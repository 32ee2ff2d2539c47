"""The orders and answers of ranks, the processes that train one model together, and the device of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.footprint.training import StepParts, Training
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.training import TrainingData

ORDER: Final = "order"
"""The file that each rank reads, in the folder that it is given."""
BACKENDS: Final[Mapping[str, str]] = {"cpu": "gloo", "cuda": "nccl"}
"""What joins the ranks, by the kind of their devices."""


def device_map_of(kind: str, local_rank: int | None) -> Mapping[str, str | int] | str:
    """Where a process puts a model, on devices of this kind (`cpu`, `cuda`, `mps`): one of several ranks on the GPU of
    its number, a process by itself where the planner says, and without GPUs of CUDA on the one device that there is."""
    if kind != "cuda":
        return {"": kind}
    return "auto" if local_rank is None else {"": local_rank}


def answer_name(rank: int) -> str:
    """The file in which a rank leaves its answer."""
    return f"rank-{rank}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOrder:
    """What every rank is told. `data` is that of all of them: each takes its own part of every batch."""

    spec: LoadSpec
    kind: str
    training: Training
    data: TrainingData


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAnswer:
    """What a rank tells of one step."""

    rank: int
    ranks: int
    local_rank: int
    pid: int
    devices: tuple[str, ...]
    """Where its weights lie, as torch names it."""
    uuid: str | None
    """Of its GPU; None on a CPU."""
    loss: float
    """Of its own sequences, nats a token."""
    gradients_sha256: str
    """Over the bits of all gradients, once they are those of all ranks."""
    difference: float
    """Of these gradients from the first rank's, root mean square over theirs; 0 where they are the same to the bit."""
    error: float
    """Difference of these gradients from those of all sequences in one process, likewise."""
    parts: StepParts
    held: int
    """Bytes that the process holds: on a GPU what torch's allocator has reserved, on a CPU resident memory."""
