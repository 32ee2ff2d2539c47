"""Is the quantization that was asked for really applied: proved by bytes and by parameter, since flags lie.

The inventory was taken right after loading, before the first forward, which repacks weights on some processors.
"""

from __future__ import annotations

import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.footprint.sizes import Footprint
from plimsoll.judge.quantization import (
    check_coverage,
    check_expected_set,
    check_placement,
    check_state,
    check_stored_bytes,
    quantized_count,
    summarise,
)

pytestmark = pytest.mark.quantization


def test_applied(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Every weight that the scheme covers by architecture is stored packed, each linear and each fused expert tensor;
    and nothing else is, so that a variant in floats stores no parameter packed."""
    wrong = check_expected_set(footprint, loaded.report.inventory)
    assert not wrong, summarise(wrong)


@pytest.mark.only("quantized")
def test_state(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Each packed weight carries the state that makes it readable, of the kind that was asked for."""
    wrong = check_state(footprint, loaded.report.inventory, loaded.variant.quantization)
    assert not wrong, summarise(wrong)


@pytest.mark.only("quantized")
@pytest.mark.measures("quantized_fraction")
def test_coverage(loaded: LoadedVariant, footprint: Footprint, judge: Judge) -> None:
    """The share of logical parameters that is packed is at least what the architecture gives."""
    inventory = loaded.report.inventory
    judge.limit(
        "quantized_fraction",
        quantized_count(footprint, inventory) / footprint.parameter_count,
        low=footprint.quantized_fraction,
        high=1.0,
        source="the architecture, on the meta device",
        diagnosis=summarise(check_coverage(footprint, inventory)),
    )


def test_bytes_of_each_parameter(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Each parameter and buffer takes the bytes that its scheme gives it, data and statistics apart."""
    wrong = check_stored_bytes(footprint, loaded.report.inventory)
    assert not wrong, summarise(wrong)


def test_not_offloaded(loaded: LoadedVariant) -> None:
    """Nothing was put on the CPU or the disk unless the entry asks for it."""
    spec = loaded.spec()
    wrong = check_placement(loaded.report.device_map, spec.device_map, spec.device)
    assert not wrong, summarise(wrong)
