"""Do packed weights say what the same weights say in bf16? These checks run last: both may not fit at once."""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.loaded import LoadedVariant
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
    """The packed model predicts nearly the same next tokens as the same weights in bf16. The packed model's logits go
    to a file and its process ends before the bf16 weights are read.

    Limit: A claim of the catalogue, else the suite's own limit for the scheme and the width of the model
    (docs/limits.md).
    Fails when: the mean KL divergence is over the limit, a logit is NaN or infinite, or one of the two could not be
    measured.
    Do: See first whether test_weights_are_the_checkpoints and test_packed_layers_compute pass. If they do, the scheme
    costs this model more than others: name a limit for it in a `[[claim]]`, or choose a scheme with more bits. If
    they fail, mend those first.
    Symptoms: ram, disk-full, packed-already
    """
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
