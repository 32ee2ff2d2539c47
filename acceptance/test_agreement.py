"""Does each device compute the same bits every time, and the same bits as the others of its product?"""

from __future__ import annotations

import pytest

from fixtures.agreement import BitsMeter
from fixtures.judging import Judge
from plimsoll.judge.golden import minority, ways_apart
from plimsoll.plan.cases import BitsCase

pytestmark = pytest.mark.agreement

_STEADY = "deterministic algorithms on one device and one stack give one result"
_SAME = "devices of one product on one stack compute the same bits; one that does not corrupts data silently"


@pytest.mark.measures("unsteady_ways")
def test_repeats_to_the_bit(bits: BitsCase, bits_meter: BitsMeter, judge: Judge) -> None:
    """Asked the same thing three times, the device computes the same logits to the last bit, and all are finite.

    Limit: No way of asking may give other bits in another round: with deterministic algorithms one device and one
    stack have one result (docs/agreement.md).
    Fails when: the bits of some round differ, or a logit is NaN or infinite. The failure names the ways of asking
    that were unsteady.
    Do: Take the GPU out of service (drain) and ask it again alone, with --soak=30min. If only one of several GPUs is
    unsteady, it is that GPU; if all are, suspect the driver or an update of the stack.
    Symptoms: gpu-broken
    """
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
    """The device computes the same bits as more than half of the devices of its product in this node.

    Limit: No way of asking may have other bits than the majority: one product on one stack computes one result
    (docs/agreement.md).
    Fails when: the device is in the minority. Of two devices that differ both fail, since nobody can say which is
    wrong.
    Do: Drain the GPU that is named, then run the check on it alone with --soak=30min. Of two that differ, compare
    each with a third of the same product, or with an earlier run of it (docs/comparison.md).
    Symptoms: gpu-broken
    """
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
