"""The predictions that ship, held against what the installed stack predicts, and complete for the shipped catalogue."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.demand import is_spread
from plimsoll.footprint.prediction import Subject
from plimsoll.footprint.training import DEFAULT_BRIDGE, DEFAULT_RANK, Mode, Training
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.host.server.predict.variant import predict_all, predict_placement, predict_training
from plimsoll.plan.shipped import Shipped

CATALOGUE = read_catalogue()
SHIPPED = Shipped.read()


def sample() -> list[Variant]:
    """The first variant of each architecture in each quantization."""
    found = {(one.model.architecture, one.quantization): one for one in reversed(list(CATALOGUE.variants.values()))}
    return list(found.values())


def test_they_count_with_the_versions_that_the_suite_is_tested_with() -> None:
    assert SHIPPED.unusable == "", "make them anew: python -m plimsoll.shipping --write"


@pytest.mark.parametrize("variant", sample(), ids=lambda one: one.id)
def test_a_shipped_prediction_is_what_the_stack_predicts(variant: Variant) -> None:
    subject = Subject.of(variant)
    assert SHIPPED.prediction(subject) == predict_all(subject)


@pytest.mark.parametrize("name", ["llama-3.1-70b-instruct/nf4", "mixtral-8x7b-instruct-v0.1/int8"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_shipped_placement_is_the_planners(name: str, count: int) -> None:
    variant = CATALOGUE.variants[name]
    assert is_spread(variant)
    memory = (CATALOGUE.profiles["h100-80g"].memory - CONTEXT_ALLOWANCE,) * count
    asked = Subject.of(variant), str(variant.device_map), memory
    assert SHIPPED.placement(*asked) == predict_placement(*asked)


@pytest.mark.parametrize("mode", [Mode.BRIDGE, Mode.LORA])
@pytest.mark.parametrize("name", ["llama-3.2-1b/bf16", "llama-3.2-3b/bf16"])
def test_a_shipped_step_is_what_the_stack_predicts(name: str, mode: Mode) -> None:
    subject = Subject.of(CATALOGUE.variants[name])
    training = Training(mode=mode, size=DEFAULT_BRIDGE if mode is Mode.BRIDGE else DEFAULT_RANK)
    step = SHIPPED.step(training, (subject,))
    assert step is not None
    assert asdict(step) == asdict(predict_training(training, subject))
