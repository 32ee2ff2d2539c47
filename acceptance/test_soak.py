"""Does each device compute the same bits for as long as --soak says? Asked with that option alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.agreement import BitsMeter
from fixtures.judging import Judge
from plimsoll.plan.cases import BitsCase

pytestmark = [pytest.mark.agreement, pytest.mark.soak]


@pytest.mark.measures("unsteady_ways")
def test_soak(soaked: BitsCase, bits_meter: BitsMeter, soak_health: Callable[[], None], judge: Judge) -> None:
    """Round after round, hot as the device gets, its logits are finite and those of the first round to the last bit.
    A GPU stays sound meanwhile.

    Limit: No way of asking may give other bits in any round (docs/agreement.md); the GPU's counters keep the bounds
    of docs/gpu-health.md.
    Fails when: the bits of some round differ, a logit is NaN or infinite, or a counter of the GPU rose.
    Do: Drain the GPU. A fault that shows only when it is hot is often cooling, power or memory: see test_throttle and
    test_ecc.
    Symptoms: gpu-broken, hang, counter
    """
    found = bits_meter.soak(soaked)
    judge.limit(
        "unsteady_ways",
        len(found.unsteady),
        high=0,
        source="deterministic algorithms on one device and one stack give one result",
        device=soaked.device,
        rounds=found.rounds,
        seconds=found.seconds,
        unsteady=dict(found.unsteady),
    )
    assert found.finite, f"{soaked.id}: some logits are not finite"
    soak_health()
