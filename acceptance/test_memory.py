"""Do stored bytes and resident memory stay within their limits?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from fixtures.causes import Causes
from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM, load_peaks
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.protocol import HostMemory
from plimsoll.judge.own_limits import ram, vram_peak

pytestmark = pytest.mark.memory

_BESIDE = 256 * 2**20
"""Bytes of RAM beside the weights: code that a first load pulls in, and what an allocator keeps."""


@pytest.mark.measures("weight_bytes")
def test_stored_bytes(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Causes) -> None:
    """Parameters, buffers and quantization statistics take exactly the bytes that were predicted."""
    predicted = footprint.weight_bytes
    judge.limit(
        "weight_bytes",
        loaded.report.inventory.stored_bytes,
        low=predicted,
        high=predicted,
        source="predicted from the configuration",
        explain=causes,
    )


@pytest.mark.only("gpu")
@pytest.mark.measures("vram_peak")
def test_peak_vram(loaded: LoadedVariant, demand: Demand, judge: Judge, causes: Causes) -> None:
    """What torch allocates on the GPUs, at its highest while loading, is what was predicted, and what documents say."""
    gpus = loaded.report.gpus
    none = "the host measured no GPU"
    for metric, sizes in (
        ("vram_allocated", [gpu.allocated_after for gpu in gpus]),
        ("vram_reserved", [gpu.reserved_peak for gpu in gpus]),
    ):
        judge.note(metric, sum(sizes) if sizes else None, reason=none)
    judge.claims(
        "vram_peak",
        sum(gpu.allocated_peak for gpu in gpus) if gpus else None,
        also=[vram_peak(_on_gpus(demand.held), _on_gpus(demand.load), len(gpus))],
        reason=none,
        explain=causes,
        predicted=_on_gpus(demand.load),
        gpus=[asdict(gpu) for gpu in gpus],
    )


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_peak")
def test_peak_ram(loaded: LoadedVariant, demand: Demand, judge: Judge, causes: Causes) -> None:
    """What the host holds of its own, at its highest while loading, stays within its limit; pages of the checkpoint's
    files, which the system may drop, are told beside it."""
    memory = loaded.report.memory
    judge.note("ram_before", memory.before, method=memory.method)
    judge.note("ram_resident_peak", memory.peak - memory.before, method=memory.method)
    judge.claims(
        "ram_peak",
        memory.grown_peak,
        otherwise=[ram("ram_peak", demand.load[RAM], loaded.variant.tier.device)],
        explain=causes,
        **_method(memory),
    )


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_after")
def test_ram_held(loaded: LoadedVariant, demand: Demand, judge: Judge, causes: Causes) -> None:
    """What the host holds of its own once the model is loaded stays within its limit."""
    memory = loaded.report.memory
    judge.claims(
        "ram_after",
        memory.grown_after,
        otherwise=[ram("ram_after", demand.held.get(RAM, 0), loaded.variant.tier.device)],
        explain=causes,
        **_method(memory),
    )


@pytest.mark.only("altered-on-cpu")
@pytest.mark.measures("ram_peak")
def test_peak_ram_as_predicted(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Causes) -> None:
    """Loading takes no more memory than was predicted: what is packed, and the weight that is being packed."""
    memory = loaded.report.memory
    predicted = load_peaks(footprint, loaded.variant.quantization, lambda _: RAM)[RAM]
    judge.note("ram_resident_peak", memory.peak - memory.before, method=memory.method)
    judge.limit(
        "ram_peak",
        memory.grown_peak,
        high=predicted + _BESIDE,
        source="predicted from the configuration, and 256 MiB",
        explain=causes,
        predicted=predicted,
        **_method(memory),
    )


@pytest.mark.only("altered-on-cpu")
@pytest.mark.measures("ram_after")
def test_ram_holds_the_weights(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Causes) -> None:
    """Once loaded, the host holds the weights and little else: the stand-in for a GPU's memory."""
    memory = loaded.report.memory
    predicted = footprint.weight_bytes
    judge.limit(
        "ram_after",
        memory.grown_after,
        low=0.99 * predicted,
        high=predicted + _BESIDE,
        source="predicted from the configuration, and 256 MiB",
        explain=causes,
        **_method(memory),
    )


def _method(memory: HostMemory) -> dict[str, Any]:
    """How a figure was made, and what the system may drop of it."""
    told_apart = memory.own_peak is not None
    return {
        "method": "sampled every 10 ms, without pages of files" if told_apart else memory.method,
        "mapped": memory.mapped,
        "mapped_resident": memory.mapped_resident,
    }


def _on_gpus(sizes: Mapping[int, int]) -> int:
    return sum(size for place, size in sizes.items() if place != RAM)
