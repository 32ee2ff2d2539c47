"""Estimates what a plan tells beside fit: the largest context and batch, and how long a load should take.

A load time is arithmetic on the speed of a disk and of the link to the GPU, not a measurement, and its assumptions
travel with it: whoever reads the figure must see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import Workload

_MOST_TOKENS: Final = 2**24
"""Where an architecture names no limit of its own."""
_MOST_SEQUENCES: Final = 2**16
REPLY: Final = 256
"""New tokens that a batch must have room for beyond its prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What fits on a machine with a variant loaded. None where cache and activations were not predicted."""

    context: int | None
    """The longest prompt of one sequence, in tokens, with room for a token more; 0 where not even one fits."""
    whole_context: bool
    """True where that is all that the architecture was made for."""
    batch: int | None
    """The most prompts of `length` tokens at once, with room for 256 new ones each."""
    length: int


def capacity(demand: Demand, room: Mapping[int, int], length: int) -> Capacity:
    """The capacity of places with so many bytes each, contexts taken off. RAM that is not among them is not looked
    at."""
    if demand.prediction.cache is None or demand.prediction.activations is None:
        return Capacity(context=None, whole_context=False, batch=None, length=length)
    limit = demand.prediction.facts.context_length or _MOST_TOKENS

    def fits(workload: Workload) -> bool:
        return all(
            size <= room.get(place, 0) for place, size in demand.at(workload).items() if place != RAM or RAM in room
        )

    context = largest(lambda tokens: fits(Workload(batch=1, prompt=tokens, new=1)), limit)
    prompt = min(length, limit)
    batch = largest(lambda size: fits(Workload(batch=size, prompt=prompt, new=REPLY)), _MOST_SEQUENCES)
    return Capacity(context=context, whole_context=context == limit, batch=batch, length=prompt)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to `most` that fits, where all below it fit too; 0 where 1 does not."""
    if fits(most):
        return most
    below, above = 0, most
    while above - below > 1:
        middle = (below + above) // 2
        if fits(middle):
            below = middle
        else:
            above = middle
    return below


DISK_RATE: Final = 2e9
"""Bytes a second: what an NVMe drive of a server reads in one stream."""
LINK_RATE: Final = 12e9
"""Bytes a second: pageable memory to a GPU over PCIe 4.0 x16; 5.0 and pinned memory reach several times that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedSpeeds:
    """What a load time is reckoned with, in bytes a second."""

    disk: float = DISK_RATE
    link: float = LINK_RATE

    def __str__(self) -> str:
        return f"a disk that reads {self.disk / 1e9:g} GB/s and {self.link / 1e9:g} GB/s from RAM to the GPU"


def load_seconds(checkpoint: int, quantization: Quantization, device: str, speeds: AssumedSpeeds) -> float:
    """Seconds to load a checkpoint of so many bytes that is in no cache; packing itself is not counted.

    Plain weights are read by several threads while others are copied; weights that are quantized on the fly come one
    after another, and in int8 each goes back to RAM and to the GPU once more, as bitsandbytes has it.
    """
    reading = checkpoint / speeds.disk
    if device == "cpu":
        return reading
    copying = checkpoint / speeds.link
    if not quantization.is_quantized:
        return max(reading, copying)
    return reading + copying * (3 if quantization is Quantization.INT8 else 1)
