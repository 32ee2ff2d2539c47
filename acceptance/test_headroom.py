"""Does the node train: do a few real steps learn, change nothing frozen, and take the memory that was predicted?

Asked by name alone (`pytest -m headroom`): a node that is to answer questions need not train, and a few steps of each
variant take their time.
"""

from __future__ import annotations

import math

import pytest

from fixtures.headroom import Trainer
from fixtures.judging import Judge
from plimsoll.footprint.training import PARTS
from plimsoll.judge.own_limits import one_update, training_memory
from plimsoll.plan.cases import TrainingCase

pytestmark = pytest.mark.headroom

_NEARLY_ALL = 0.99
"""The part of the bytes that a frozen model is predicted to store: what is predicted is met to the third digit."""


@pytest.mark.measures("training_loss_fall")
def test_learns(trainer: Trainer, training_case: TrainingCase, judge: Judge) -> None:
    """A few training steps on one text lower the loss, with finite gradients, and leave what is frozen as it was to
    the bit. All but full training freezes the whole model.

    Limit: The loss falls by 0.01 nats at least: the suite's own, since steps on one text lower the loss on that text.
    Fails when: the loss does not fall or is not finite, a gradient is zero or not finite, a frozen weight changed, or
    training ran on another device.
    Do: Losses and gradient norms are in the evidence. Where they are not finite, try bf16 in place of fp16. Where the
    model trains on the CPU, look at test_loads_on_asked_device.
    Symptoms: gpu-memory, missing-package
    """
    trained = trainer.trained()
    losses, norms = trained.losses, trained.gradient_norms
    judge.limit(
        "training_loss_fall",
        losses[0] - losses[-1] if all(map(math.isfinite, losses)) else None,
        low=0.01,
        reason="a loss was not finite",
        source="the suite's own: steps on one text lower the loss on that text",
        losses=list(losses),
        gradient_norms=list(norms),
        trained_parameters=trained.trained_parameters,
        trained_on=trained.device,
    )
    assert all(map(math.isfinite, norms)), f"a gradient is not finite: norms {norms}"
    assert all(norms), f"no gradient reaches what is trained: norms {norms}"
    assert trained.frozen_after == trained.frozen_before, "a step changed weights that are frozen"
    assert trained.frozen_bytes >= _NEARLY_ALL * trainer.frozen, (
        f"{trained.frozen_bytes:,} bytes were frozen, of a model of {trainer.frozen:,} that was to be frozen whole"
    )
    where = training_case.variant.tier.device
    assert trained.device.partition(":")[0] == where, f"trained on {trained.device}, and not on {where}"


@pytest.mark.measures("training_peak")
def test_takes_what_was_predicted(trainer: Trainer, training_case: TrainingCase, judge: Judge) -> None:
    """A training step takes the memory that was predicted from the configuration.

    Limit: Around the prediction, with a workspace on top on a GPU (docs/headroom.md).
    Fails when: the most memory in use lies outside of that.
    Do: The evidence has weights, gradients, optimizer and activations, measured beside predicted: the part that
    differs says where to look. Report a part that is predicted wrong; until then plan with what was measured.
    Symptoms: gpu-memory
    """
    trained, predicted = trainer.trained(), trainer.predicted
    for name in PARTS[:-1]:
        judge.note(
            f"training_{name}",
            getattr(trained.parts, name),
            predicted=getattr(predicted, name),
            method=trained.method,
        )
    limit = training_memory(predicted.peak, training_case.variant.tier.device)
    judge.limit(
        "training_peak",
        trained.parts.peak,
        low=limit.low,
        high=limit.high,
        source=limit.source,
        predicted=predicted.peak,
        phase=trained.parts.phase.value,
        method=trained.method,
        seconds=trained.seconds,
    )


@pytest.mark.measures("accumulation_difference", "recomputed_difference")
def test_update_however_it_is_made(trainer: Trainer, training_case: TrainingCase, judge: Judge) -> None:
    """A batch gives the gradients of its sequences one by one, and those with layers computed again; the latter take
    less memory and give the same loss.

    Limit: What the order of sums costs in bfloat16 (docs/headroom.md).
    Fails when: gradients or losses differ by more than that, or computing layers again saves no memory.
    Do: Compare the releases of torch and transformers with those of docs/releases.md. Do not train with gradient
    accumulation or checkpointing on this stack until the check passes.
    Symptoms: remote-code
    """
    compared = trainer.compared()
    limit = one_update()
    for metric, value in (
        ("accumulation_difference", compared.accumulation_difference),
        ("recomputed_difference", compared.again_difference),
    ):
        judge.limit(metric, value, high=limit.high, source=limit.source, way=str(training_case.training))
    assert compared.again_loss == compared.whole_loss, (
        f"with layers computed again the loss is {compared.again_loss}, and {compared.whole_loss} without"
    )
    assert compared.again.activations < compared.whole.activations, (
        f"layers are computed again, and {compared.again.activations:,} bytes are kept for the backward pass, "
        f"{compared.whole.activations:,} without"
    )
