"""Estimates the largest context and batch, and how long a load should take.

A load time is computed from the speed of a disk and of the link to the GPU, not measured, so its assumptions are shown
with it.
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
"""The longest context to consider where an architecture has no limit of its own."""
_MOST_SEQUENCES: Final = 2**16
REPLY: Final = 256
"""New tokens that a batch must have room for beyond its prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What fits on a machine beside a loaded variant. None where cache and activations were not predicted."""

    context: int | None
    """The longest prompt of one sequence, in tokens, with room for one more token; 0 where not even one fits."""
    whole_context: bool
    """True where that is the architecture's own limit."""
    batch: int | None
    """The most prompts of `length` tokens at once, with room for 256 new ones each."""
    length: int


def capacity(demand: Demand, room: Mapping[int, int], length: int) -> Capacity:
    """The capacity of places with so many bytes each, without contexts. RAM counts only where it is among them."""
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
    """The largest number from 1 to `most` that fits, assuming that all below it fit too; 0 where 1 does not."""
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
"""Bytes a second of a server's NVMe drive in one stream."""
LINK_RATE: Final = 12e9
"""Bytes a second: pageable memory to a GPU over PCIe 4.0 x16; 5.0 and pinned memory reach several times that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedSpeeds:
    """The speeds from which a load time is computed, in bytes a second."""

    disk: float = DISK_RATE
    link: float = LINK_RATE

    def __str__(self) -> str:
        return f"a disk that reads {self.disk / 1e9:g} GB/s and {self.link / 1e9:g} GB/s from RAM to the GPU"


def load_seconds(checkpoint: int, quantization: Quantization, device: str, speeds: AssumedSpeeds) -> float:
    """Seconds to load an uncached checkpoint of so many bytes, without packing.

    Plain weights are read by several threads while others are copied; weights that are quantized on the fly come one
    after another, and bitsandbytes moves int8 weights back to RAM and to the GPU once more.
    """
    reading = checkpoint / speeds.disk
    if device == "cpu":
        return reading
    copying = checkpoint / speeds.link
    if not quantization.is_quantized:
        return max(reading, copying)
    return reading + copying * (3 if quantization is Quantization.INT8 else 1)
