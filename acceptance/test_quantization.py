"""Is the quantization that was asked for really applied: proved by bytes and by parameter, since flags lie.

The inventory was taken right after loading, before the first forward, which repacks weights on some processors.
"""

from __future__ import annotations

import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.footprint.footprint import Footprint
from plimsoll.judge.quantization import (
    check_applied,
    check_no_more,
    check_offload,
    check_state,
    quantized_fraction,
)

pytestmark = pytest.mark.quantization


@pytest.mark.only("quantized")
def test_applied(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Every weight that the scheme covers by architecture is stored packed: each linear, each fused expert tensor."""
    faults = check_applied(footprint, loaded.report.inventory)
    assert not faults, "\n".join(str(fault) for fault in faults)


@pytest.mark.only("quantized")
def test_state(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Each packed weight carries the state that makes it readable, of the kind that was asked for."""
    faults = check_state(footprint, loaded.report.inventory, loaded.variant.quantization)
    assert not faults, "\n".join(str(fault) for fault in faults)


@pytest.mark.only("quantized")
@pytest.mark.measures("quantized_fraction")
def test_coverage(loaded: LoadedVariant, footprint: Footprint, judge: Judge) -> None:
    """The share of logical parameters that is packed is at least what the architecture gives."""
    judge.limit(
        "quantized_fraction",
        quantized_fraction(loaded.report.inventory),
        low=footprint.quantized_fraction,
        high=1.0,
        source="the architecture, on the meta device",
    )


@pytest.mark.only("plain")
def test_not_quantized(loaded: LoadedVariant) -> None:
    """A variant in floats stores no parameter packed."""
    faults = check_no_more(loaded.report.inventory)
    assert not faults, "\n".join(str(fault) for fault in faults)


def test_not_offloaded(loaded: LoadedVariant) -> None:
    """Nothing was put on the CPU or the disk unless the entry asks for it."""
    spec = loaded.spec()
    faults = check_offload(loaded.report.device_map, spec.device, spec.device_map)
    assert not faults, "\n".join(str(fault) for fault in faults)
