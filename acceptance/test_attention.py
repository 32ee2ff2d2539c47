"""Do all attention implementations that the class and the node have give the same logits, in padded batches too?"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.loaded import LoadedVariant
from fixtures.prompts import SAMPLE, Prompts
from plimsoll.footprint.demand import Demand, layers_of
from plimsoll.host.protocol import CompareAttention
from plimsoll.judge.own_limits import rounding

pytestmark = pytest.mark.attentions


@pytest.mark.measures("attention_divergence")
def test_attention_agrees(loaded: LoadedVariant, prompts: Prompts, demand: Demand, judge: Judge) -> None:
    """Each attention implementation gives the logits of eager attention, and is the one that really computes. A batch
    that is padded on the left and on the right is held against each prompt alone. flex_attention, which each process
    would have to compile, is asked where the entry chooses it.

    Limit: What rounding in the variant's dtype allows at its depth, or a claim on the metric (docs/limits.md).
    Fails when: an implementation differs by more than that, gives NaN or infinity, or another one computes in its
    place, or none could be asked.
    Do: The failure names the worst implementation and its divergence. Set `attention` of the entry to one that
    agrees, and compare the releases of torch, transformers and flash-attn with those of docs/releases.md.
    Symptoms: unsupported-gpu, missing-package
    """
    ways = loaded.ask(CompareAttention(questions=prompts.questions[:SAMPLE]))
    asked = [way for way in ways if way.agreement is not None]
    assert asked, "no attention implementation could be asked: " + "; ".join(
        f"{way.name}: {way.unavailable}" for way in ways
    )
    unlike = [
        f"{way.name} was asked for, and {', '.join(way.used)} computed" for way in asked if way.used != (way.name,)
    ]
    assert not unlike, "\n".join(unlike)
    broken = [way.name for way in asked if not way.finite]
    assert not broken, f"logits are NaN or infinite with {', '.join(broken)}"
    worst = max(asked, key=lambda way: 0.0 if way.agreement is None else way.agreement.divergence)
    judge.claims(
        "attention_divergence",
        None if worst.agreement is None else worst.agreement.divergence,
        otherwise=[rounding("attention_divergence", loaded.variant.quantization, layers_of(loaded.variant, demand))],
        worst=worst.name,
        ways=[
            {
                "name": way.name,
                "divergence": way.agreement.divergence,
                "same_choice": way.agreement.same_choice,
                "seconds": way.seconds,
                "peak": way.peak,
            }
            for way in asked
            if way.agreement is not None
        ],
        unavailable={way.name: way.unavailable for way in ways if way.unavailable},
    )
