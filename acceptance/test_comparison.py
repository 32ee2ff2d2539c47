"""Do packed weights say what the same weights say in bf16? These run last, since the two may not fit side by side."""

from __future__ import annotations

import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from fixtures.prompts import Reference
from plimsoll.footprint.demand import Demand
from plimsoll.host.protocol import Score
from plimsoll.judge.own_limits import divergence

pytestmark = pytest.mark.comparison


@pytest.mark.only("compared")
@pytest.mark.measures("quantized_divergence")
def test_close_to_16_bit(
    loaded: LoadedVariant, scored: Score, reference: Reference, demand: Demand, judge: Judge
) -> None:
    """The next-token distributions stay close to those of the same weights in bf16. Its logits are in a file, and
    the model is gone by then."""
    assert loaded.ask_once(scored).finite, "a raw logit was NaN or infinite"
    loaded.close()
    assert scored.save_to is not None
    found = reference.score(scored.save_to)
    judge.claims(
        "quantized_divergence",
        found.mean_kl,
        otherwise=[divergence(loaded.variant.quantization, demand.prediction.facts.hidden_size or 1)],
        reason="" if found.mean_kl is not None else "the host gave no divergence",
        same_choice=found.same_choice,
        positions=found.positions,
    )
