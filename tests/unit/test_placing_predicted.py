"""What a variant asks of GPUs, from its prediction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.activations import Activations, Cache, CacheLayer, Moment
from plimsoll.footprint.prediction import ArchitectureFacts, Prediction
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.host.failures import HostError, Raised
from plimsoll.host.protocol import PredictPlacement
from plimsoll.node.devices import Device
from plimsoll.plan.placing import GpuDemand, Set, gpu_demand_of
from plimsoll.plan.predictions import Predictions
from tests.support.gate_subjects import GB

VARIANTS = read_catalogue().variants
WHOLE = VARIANTS["llama-3.2-1b/nf4"]
SPREAD = VARIANTS["llama-3.1-70b-instruct/int8"]
LAYERS = 10


def parameter(name: str) -> ExpectedParameter:
    return ExpectedParameter(
        name=name,
        shape=(1,),
        quantized=False,
        data_bytes=4 * GB,
        statistics_bytes=0,
        storage_dtype="bfloat16",
        reason="norm",
    )


FORTY = Prediction(
    footprint=Footprint(parameters=tuple(parameter(f"layers.{n}.weight") for n in range(LAYERS)), buffers=()),
    facts=ArchitectureFacts(hidden_size=2048, key_value_heads=8, context_length=131072, sliding_window=None),
    cache=Cache(layers=(CacheLayer(module="layers.0", state_bytes=0, token_bytes=4, window=None),)),
    activations=Activations(
        prefill=(Moment(terms=(1, 2, 3, 4, 5, 6), operation="aten.mul"),),
        head=(),
        decode=(Moment(terms=(-1, 0, 0, 0, 9, 0), operation="aten.cat"),),
        last_logits=6,
    ),
)
"""Forty gigabytes in ten layers."""


def planned(memory: tuple[int, ...]) -> dict[str, str | int]:
    """Layers one after the other, on the first GPU that has room; the rest on the processor."""
    placement: dict[str, str | int] = {}
    left = list(memory)
    for layer in range(LAYERS):
        place = next((number for number, room in enumerate(left) if room >= 4 * GB), None)
        if place is not None:
            left[place] -= 4 * GB
        placement[f"layers.{layer}"] = "cpu" if place is None else place
    return placement


def load(folder: Path, variant: Variant, most: int = 8) -> GpuDemand:
    def ask(request: Any) -> Any:
        return planned(request.memory) if isinstance(request, PredictPlacement) else FORTY

    return gpu_demand_of(variant, Predictions(folder, ask), most)


def gpus(*gigabytes: int | None) -> Set:
    return tuple(
        Device(id=f"gpu{n}", kind="cuda", index=n, memory=None if size is None else size * GB)
        for n, size in enumerate(gigabytes)
    )


def test_one_gpu_holds_what_was_predicted_with_its_context(tmp_path: Path) -> None:
    found = load(tmp_path, WHOLE)
    assert (found.least, found.most) == (1, 1)
    assert not found.holds(gpus(41))
    assert found.holds(gpus(50))
    assert found.holds(gpus(None)), "a GPU that does not say is the gate's to judge"


@pytest.mark.parametrize(
    ("sizes", "holds"),
    [((50,), True), ((24,), False), ((24, 24), True), ((20, 20), False), ((15, 15, 15), False), ((20, 26), True)],
)
def test_what_is_spread_is_held_where_the_planner_leaves_nothing_over(
    tmp_path: Path, sizes: tuple[int, ...], *, holds: bool
) -> None:
    found = load(tmp_path, SPREAD)
    assert (found.least, found.most) == (1, 8)
    assert found.holds(gpus(*sizes)) is holds


def test_a_device_map_that_names_two_gpus_asks_for_two(tmp_path: Path) -> None:
    halves = {f"layers.{n}": n // 5 for n in range(LAYERS)}
    found = load(tmp_path, replace(WHOLE, device_map=halves))
    assert (found.least, found.most) == (2, 2)
    assert found.holds(gpus(30, 30))
    assert not found.holds(gpus(80, 16))
    assert not found.holds(gpus(80))


def test_what_cannot_be_predicted_goes_anywhere_for_the_gate_to_say_why(tmp_path: Path) -> None:
    def fails(_: Any) -> Any:
        raised = Raised(kind="ValueError", message="no such model", traceback="")
        raise HostError(host="prediction", request="Predict", seconds=0.1, log=tmp_path, raised=raised)

    ask: Any = fails
    found = gpu_demand_of(WHOLE, Predictions(tmp_path, ask), 8)
    assert found.holds(gpus(1))
