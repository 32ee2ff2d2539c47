"""Do stored bytes and resident memory stay within their limits?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from fixtures.judging import Explain, Judge
from fixtures.loaded import LoadedVariant
from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM, load_peaks
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.protocol import HostMemory
from plimsoll.judge.own_limits import ram, vram_peak

pytestmark = pytest.mark.memory

_BESIDE = 256 * 2**20
"""Bytes of RAM beside the weights: code that a first load pulls in, and what an allocator keeps."""


@pytest.mark.measures("weight_bytes")
def test_stored_bytes(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Explain) -> None:
    """Parameters, buffers and quantization statistics take exactly the bytes that were predicted.

    Limit: Exactly the prediction from the configuration (docs/prediction.md), and every claim.
    Fails when: one byte more or less is stored, or a claim does not hold. The failure names the causes that fit: a
    missed quantization, untied weights, another dtype.
    Do: Do what the named cause says. test_bytes_of_each_parameter names the tensors.
    Symptoms: not-packed, untied, memory-figure
    """
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
def test_peak_vram(loaded: LoadedVariant, demand: Demand, judge: Judge, causes: Explain) -> None:
    """What torch allocates on the GPUs at its highest while loading is what was predicted, and what documents say.

    Limit: From what is held once loaded to 2 % and 64 MiB a GPU above the predicted peak (docs/prediction.md), and
    every claim.
    Fails when: the peak lies outside of any of them, or no GPU was measured.
    Do: The failure names causes. If the prediction itself is over a claim, the document is wrong: dispute the claim
    (docs/catalogue.md). Else see test_stored_bytes.
    Symptoms: memory-figure, not-packed, gpu-memory
    """
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
def test_peak_ram(loaded: LoadedVariant, demand: Demand, judge: Judge, causes: Explain) -> None:
    """What the process holds of its own at its highest while loading stays within its limit. Pages of the
    checkpoint's files, which the system may drop, are recorded beside it.

    Limit: A claim, else the prediction and what does not depend on the weights (docs/limits.md).
    Fails when: the peak is over the limit.
    Do: Look at the causes that the failure names, and at remote code: code that makes the whole model in RAM before
    it reads the weights takes them twice.
    Symptoms: memory-figure, ram
    """
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
def test_ram_held(loaded: LoadedVariant, demand: Demand, judge: Judge, causes: Explain) -> None:
    """What the process holds of its own once the model is loaded stays within its limit.

    Limit: A claim, else the prediction and what does not depend on the weights (docs/limits.md).
    Fails when: more is held than that.
    Do: With a GPU: see whether layers stayed in RAM (test_placed_as_asked). On a CPU: see test_stored_bytes.
    Symptoms: memory-figure, ram
    """
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
def test_peak_ram_as_predicted(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Explain) -> None:
    """Loading takes no more memory than was predicted: what is packed, and the weight that is being packed. RAM
    stands in for the memory of a GPU here.

    Limit: The prediction and 256 MiB.
    Fails when: the peak is over that.
    Do: Compare the releases of transformers and bitsandbytes with those of docs/releases.md: some keep a weight
    unpacked for longer. See test_applied too.
    Symptoms: memory-figure, not-packed
    """
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
def test_ram_holds_the_weights(loaded: LoadedVariant, footprint: Footprint, judge: Judge, causes: Explain) -> None:
    """Once loaded, the process holds the weights and little else. RAM stands in for the memory of a GPU here.

    Limit: From 99 % of the predicted bytes to the prediction and 256 MiB.
    Fails when: less is held, so that weights are missing, or more.
    Do: Less: see test_loads_completely. More: see test_stored_bytes and the causes that the failure names.
    Symptoms: memory-figure, not-packed
    """
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
