"""How long a load should take, from the speed of a disk and of the link to the GPU: arithmetic, not a measurement.

Whoever reads the figure must see what it assumes, so the assumptions travel with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization

DISK_RATE: Final = 2e9
"""Bytes a second: what an NVMe drive of a server reads in one stream."""
LINK_RATE: Final = 12e9
"""Bytes a second: pageable memory to a GPU over PCIe 4.0 x16; 5.0 and pinned memory reach several times that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """What a load time is reckoned with, in bytes a second."""

    disk: float = DISK_RATE
    link: float = LINK_RATE

    def __str__(self) -> str:
        return f"a disk that reads {self.disk / 1e9:g} GB/s and {self.link / 1e9:g} GB/s from RAM to the GPU"


def load_seconds(checkpoint: int, quantization: Quantization, device: str, speeds: Speeds) -> float:
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
