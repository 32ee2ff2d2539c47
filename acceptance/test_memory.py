"""Do stored bytes and resident memory stay within their limits."""

from __future__ import annotations

import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.footprint.footprint import Footprint

pytestmark = pytest.mark.memory


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


@pytest.mark.measures("ram_peak")
def test_peak_ram(loaded: LoadedVariant, judge: Judge) -> None:
    """The host's resident memory, at its highest while loading, stays within its limit."""
    memory = loaded.report.memory
    judge.note("ram_before", memory.before, method=memory.method)
    judge.claims("ram_peak", memory.peak - memory.before, method=memory.method)


@pytest.mark.measures("ram_after")
def test_ram_after_loading(loaded: LoadedVariant, judge: Judge) -> None:
    """What the host holds once the model is loaded stays within its limit."""
    memory = loaded.report.memory
    judge.claims("ram_after", memory.after - memory.before, method=memory.method)
