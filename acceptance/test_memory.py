"""Do stored bytes and resident memory stay within their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import pytest

from fixtures.causes import Causes
from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM, load_peaks
from plimsoll.footprint.sizes import Footprint
from plimsoll.judge.judgement import Limit

pytestmark = pytest.mark.memory

_ABOVE_PREDICTED = 1.02
"""A caching allocator rounds each tensor up, which a prediction does not."""
_WORKSPACE = 64 * 2**20
"""Bytes of a GPU that libraries of matrix products keep for themselves through torch's allocator."""
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
        also=[
            Limit(
                metric="vram_peak",
                low=_on_gpus(demand.held),
                high=_ABOVE_PREDICTED * _on_gpus(demand.load) + _WORKSPACE * len(gpus),
                source="predicted from the configuration, 2 % and 64 MiB a GPU",
            )
        ],
        reason=none,
        explain=causes,
        gpus=[asdict(gpu) for gpu in gpus],
    )


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_peak")
def test_peak_ram(loaded: LoadedVariant, judge: Judge, causes: Causes) -> None:
    """The host's resident memory, at its highest while loading, stays within its limit."""
    memory = loaded.report.memory
    judge.note("ram_before", memory.before, method=memory.method)
    judge.claims("ram_peak", memory.peak - memory.before, explain=causes, method=memory.method)


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_after")
def test_ram_held(loaded: LoadedVariant, judge: Judge, causes: Causes) -> None:
    """What the host holds once the model is loaded stays within its limit."""
    memory = loaded.report.memory
    judge.claims("ram_after", memory.after - memory.before, explain=causes, method=memory.method)


@pytest.mark.only("altered-on-cpu")
@pytest.mark.measures("ram_peak")
def test_peak_ram_as_predicted(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Causes) -> None:
    """Loading takes no more memory than was predicted: what is packed, and the weight that is being packed."""
    memory = loaded.report.memory
    predicted = load_peaks(footprint, loaded.variant.quantization, lambda _: RAM)[RAM]
    judge.limit(
        "ram_peak",
        memory.peak - memory.before,
        high=predicted + _BESIDE,
        source="predicted from the configuration, and 256 MiB",
        explain=causes,
        method=memory.method,
        predicted=predicted,
    )


@pytest.mark.only("altered-on-cpu")
@pytest.mark.measures("ram_after")
def test_ram_holds_the_weights(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Causes) -> None:
    """Once loaded, the host holds the weights and little else: the stand-in for a GPU's memory."""
    memory = loaded.report.memory
    predicted = footprint.weight_bytes
    judge.limit(
        "ram_after",
        memory.after - memory.before,
        low=0.99 * predicted,
        high=predicted + _BESIDE,
        source="predicted from the configuration, and 256 MiB",
        explain=causes,
        method=memory.method,
    )


def _on_gpus(sizes: Mapping[int, int]) -> int:
    return sum(size for place, size in sizes.items() if place != RAM)
