"""Do stored bytes and resident memory stay within their limits."""

from __future__ import annotations

import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.footprint.footprint import Footprint
from plimsoll.footprint.load_peak import RAM, load_peaks

pytestmark = pytest.mark.memory

_BESIDE = 256 * 2**20
"""Bytes of RAM beside the weights: code that a first load pulls in, and what an allocator keeps."""


@pytest.mark.measures("weight_bytes")
def test_stored_bytes(loaded: LoadedVariant, footprint: Footprint, judge: Judge) -> None:
    """Parameters, buffers and quantization statistics take exactly the bytes that were predicted."""
    predicted = footprint.weight_bytes
    judge.limit(
        "weight_bytes",
        loaded.report.inventory.stored_bytes,
        low=predicted,
        high=predicted,
        source="predicted from the configuration",
    )


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_peak")
def test_peak_ram(loaded: LoadedVariant, judge: Judge) -> None:
    """The host's resident memory, at its highest while loading, stays within its limit."""
    memory = loaded.report.memory
    judge.note("ram_before", memory.before, method=memory.method)
    judge.claims("ram_peak", memory.peak - memory.before, method=memory.method)


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_after")
def test_ram_after_loading(loaded: LoadedVariant, judge: Judge) -> None:
    """What the host holds once the model is loaded stays within its limit."""
    memory = loaded.report.memory
    judge.claims("ram_after", memory.after - memory.before, method=memory.method)


@pytest.mark.only("altered-on-cpu")
@pytest.mark.measures("ram_peak")
def test_peak_ram_as_predicted(loaded: LoadedVariant, footprint: Footprint, judge: Judge) -> None:
    """Loading takes no more memory than was predicted: what is packed, and the weight that is being packed."""
    memory = loaded.report.memory
    judge.limit(
        "ram_peak",
        memory.peak - memory.before,
        high=load_peaks(footprint, loaded.variant.quantization, lambda _: RAM)[RAM] + _BESIDE,
        source="predicted from the configuration, and 256 MiB",
        method=memory.method,
    )


@pytest.mark.only("altered-on-cpu")
@pytest.mark.measures("ram_after")
def test_ram_holds_the_weights(loaded: LoadedVariant, footprint: Footprint, judge: Judge) -> None:
    """Once loaded, the host holds the weights and little else: the stand-in for a GPU's memory."""
    memory = loaded.report.memory
    predicted = footprint.weight_bytes
    judge.limit(
        "ram_after",
        memory.after - memory.before,
        low=0.99 * predicted,
        high=predicted + _BESIDE,
        source="predicted from the configuration, and 256 MiB",
        method=memory.method,
    )
