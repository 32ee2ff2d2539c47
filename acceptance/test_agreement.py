"""Does each device compute the same bits every time, and the same as the others of its product."""

from __future__ import annotations

import pytest

from fixtures.agreement import BitsMeter
from fixtures.judging import Judge
from plimsoll.judge.agreement import minority, ways_apart
from plimsoll.plan.device_cases import BitsCase

pytestmark = pytest.mark.agreement

_STEADY = "deterministic algorithms on one device and one stack give one result"
_SAME = "devices of one product on one stack compute the same bits; one that does not corrupts data silently"


@pytest.mark.measures("unsteady_ways")
def test_repeats_to_the_bit(bits: BitsCase, bits_meter: BitsMeter, judge: Judge) -> None:
    """Round after round the device computes the same logits, to the last bit, and they are finite."""
    found = bits_meter.bits(bits.device, bits)
    judge.limit(
        "unsteady_ways",
        len(found.unsteady),
        high=0,
        source=_STEADY,
        device=bits.device,
        rounds=found.rounds,
        unsteady=dict(found.unsteady),
        digests=dict(found.digests),
    )
    assert found.finite, f"{bits.id}: some logits are not finite"


@pytest.mark.measures("ways_apart")
def test_agrees_with_its_product(same_bits: BitsCase, bits_meter: BitsMeter, judge: Judge) -> None:
    """The device computes the bits that more than half of its product compute in this node."""
    devices = (same_bits.device, *same_bits.others)
    found = {one.id: bits_meter.bits(one, same_bits) for one in devices}
    apart = ways_apart(same_bits.device.id, found)
    judge.limit(
        "ways_apart",
        len(apart),
        high=0,
        source=_SAME,
        device=same_bits.device,
        apart=list(apart),
        minority=list(minority(found)),
        devices=list(found),
    )
