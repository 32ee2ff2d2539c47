"""The predictions that ship, held against what the installed stack predicts, and complete for the shipped catalogue."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.demand import is_spread
from plimsoll.footprint.prediction import Subject
from plimsoll.footprint.training import DEFAULT_BRIDGE, DEFAULT_RANK, Mode, StepPrediction, Training
from plimsoll.host.protocol import PredictPlacement
from plimsoll.host.server.predict.variant import predict_all, predict_placement, predict_training
from plimsoll.plan.planning import machine_of
from plimsoll.plan.predictions import Predictions
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


def here(request: Any) -> Any:
    """What a host would answer."""
    assert isinstance(request, PredictPlacement)
    return predict_placement(request.subject, request.device_map, request.memory)


def nowhere(request: Any) -> Any:
    raise AssertionError(f"a host was asked {request}")


@pytest.mark.parametrize("variant", [one for one in CATALOGUE.variants.values() if is_spread(one)], ids=lambda v: v.id)
@pytest.mark.parametrize("profile", ["h100-80g-x2", "h100-80g-x8", "mi300x-192g-x4"])
def test_a_shipped_placement_is_the_planners(tmp_path: Path, variant: Variant, profile: str) -> None:
    gpus = machine_of(CATALOGUE.profiles[profile]).gpus
    placed = Predictions(tmp_path, nowhere, SHIPPED).placement(variant, gpus)
    assert placed
    assert placed == Predictions(tmp_path, here).placement(variant, gpus)


@pytest.mark.parametrize("mode", [Mode.BRIDGE, Mode.LORA])
@pytest.mark.parametrize("name", ["llama-3.2-1b/bf16", "llama-3.2-3b/bf16"])
def test_a_shipped_step_is_what_the_stack_predicts(name: str, mode: Mode) -> None:
    subject = Subject.of(CATALOGUE.variants[name])
    training = Training(mode=mode, size=DEFAULT_BRIDGE if mode is Mode.BRIDGE else DEFAULT_RANK)
    step = SHIPPED.step(training, (subject,))
    assert isinstance(step, StepPrediction)
    assert asdict(step) == asdict(predict_training(training, subject))
