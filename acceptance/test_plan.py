"""Does each variant fit on each reference machine of the data sheets, and what is left there for context and batch?

Asked by name alone (`pytest -m plan`); nothing is loaded, and no GPU is needed. A variant that does not fit on a
machine is no fault of either. Its check passes when the figures bear out the refusal. It fails when the gate refuses
what would fit, admits what would not, or a document promises what cannot be (docs/prediction.md).
"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.plan.asking import Pairing
from plimsoll.plan.planning import PlanRow, broken_promises

pytestmark = pytest.mark.plan


@pytest.mark.measures("vram_left")
def test_fits(pairing: Pairing, planned: PlanRow, judge: Judge) -> None:
    """The gate admits what the machine's memory holds and refuses what it cannot hold, and documents promise no more.

    Limit: Nothing lacking for what is admitted, something lacking for what is refused; the source is the data sheet
    of the machine (catalogue/profiles.toml).
    Fails when: decision and figures contradict each other, or a document promises memory that is not there.
    Do: A broken promise: dispute the claim in the catalogue (docs/catalogue.md). A wrong decision is a fault of the
    suite: report it with the output of `plimsoll plan`.
    Symptoms: gpu-memory
    """
    decision = planned.decision
    if isinstance(decision, str):
        pytest.fail(decision, pytrace=False)
    refused = isinstance(decision, Skip)
    if isinstance(decision, Skip) and decision.code is not SkipCode.VRAM:
        pytest.fail(f"refused for another reason than memory: {decision}", pytrace=False)
    judge.note("vram_needed", planned.needed, reason="it was not predicted", method="predicted")
    _note_capacity(planned, judge)
    judge.limit(
        "vram_left",
        planned.left,
        low=None if refused else 0,
        high=-1 if refused else None,
        source=pairing.profile.source,
        reason="it was not predicted",
        method="predicted",
        decision=str(decision),
    )
    broken = broken_promises(pairing.variant, planned)
    assert not broken, "\n".join(broken)


def _note_capacity(planned: PlanRow, judge: Judge) -> None:
    """Keep the largest context and batch as evidence; nothing limits them."""
    fitting = planned.capacity
    why = planned.note or "it does not fit"
    judge.note("largest_context", None if fitting is None else fitting.context, reason=why, method="predicted")
    judge.note("largest_batch", None if fitting is None else fitting.batch, reason=why, method="predicted")
