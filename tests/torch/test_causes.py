"""Causes as the suite finds them: from a real load, its prediction, and what a recorded node said of its GPUs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.diagnosing import observe
from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.demand import demand_of
from plimsoll.footprint.prediction import Subject
from plimsoll.host.protocol import LoadReport, LoadSpec
from plimsoll.host.server.loading import load
from plimsoll.host.server.predict.variant import predict_all
from plimsoll.judge.diagnosis import Observed, diagnose
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.node.node import Node
from plimsoll.node.probe import RecordedProbe
from tests.support.random_checkpoints import CONFIGS

GIB = 2**30
OTHERS = "other processes hold 3.33 GB (3.10 GiB), which this figure does not count"


@pytest.fixture(scope="module")
def small() -> Variant:
    """A variant for a GPU, of a small model."""
    entered = read_catalogue().variants["llama-3.1-8b/nf4-dq"]
    assert entered.quantization is Quantization.NF4_DQ
    return replace(entered, model=replace(entered.model, config=dict(CONFIGS["llama"])))


@pytest.fixture(scope="module")
def report(small: Variant) -> LoadReport:
    spec = LoadSpec(
        checkpoint="small",
        revision=None,
        auto_class=small.model.auto_class,
        architecture=small.model.architecture,
        quantization=small.quantization,
        device="cpu",
        device_map=None,
        attention="sdpa",
        generation=small.model.generation,
        synthetic_config=small.model.config,
    )
    return load(spec, "as-is").report


def node_with(*held: int, visible: str | None = None) -> Node:
    """A node of 8 GPUs, of which other processes hold so many bytes, in the order of the bus."""
    node = RecordedProbe(Path(__file__).parents[1] / "support/recorded" / "synthetic-8xh100-80g.json").probe()
    free = [(gpu.memory_total or 0) - size for gpu, size in zip(node.gpus, held, strict=False)]
    gpus = (
        *(replace(gpu, memory_free=size) for gpu, size in zip(node.gpus, free, strict=False)),
        *node.gpus[len(free) :],
    )
    environment = dict(node.environment) if visible is None else {**node.environment, "CUDA_VISIBLE_DEVICES": visible}
    return replace(node, gpus=gpus, environment=environment)


def observed(metric: str, variant: Variant, report: LoadReport, node: Node) -> Observed:
    prediction = predict_all(Subject.of(variant))
    return observe(metric, variant, report, prediction.footprint, demand_of(variant, prediction), node)


def causes_of(metric: str, value: float, high: float, seen: Observed) -> tuple[str, ...]:
    measurement = Measurement(metric=metric, value=value, reason="")
    return diagnose(judge(measurement, Limit(metric=metric, low=None, high=high, source="a document")), seen)


def test_what_others_hold_of_the_gpu_in_use_is_named(small: Variant, report: LoadReport) -> None:
    node = node_with(round(3.1 * GIB), 70 * GIB)
    seen = observed("vram_peak", small, report, node)
    assert seen.others == round(3.1 * GIB), "GPU 1 is not in use"
    assert OTHERS in causes_of("vram_peak", 50 * GIB, 48 * GIB, seen)


def test_gpus_are_counted_in_the_order_that_cuda_has(small: Variant, report: LoadReport) -> None:
    node = node_with(70 * GIB, round(3.1 * GIB), visible="1,0")
    assert observed("vram_peak", small, report, node).others == round(3.1 * GIB)


def test_memory_that_was_not_read_is_not_said_to_be_held_by_nobody(small: Variant, report: LoadReport) -> None:
    node = node_with(0)
    unread = replace(node, gpus=(replace(node.gpus[0], memory_free=None), *node.gpus[1:]))
    assert observed("vram_peak", small, report, unread).others is None
    assert observed("vram_peak", small, report, replace(node, gpus=())).others is None


def test_a_sound_load_over_its_limit_is_told_from_a_faulty_one(small: Variant, report: LoadReport) -> None:
    seen = observed("vram_peak", small, report, node_with(0))
    assert seen.predicted is not None
    (cause,) = causes_of("vram_peak", seen.predicted, seen.predicted - 1000, seen)
    assert cause.startswith("even a sound load takes at least ")
    assert cause.endswith(": dispute the limit")
    assert observed("weight_bytes", small, report, node_with(0)).predicted == report.inventory.stored_bytes
    assert observed("ram_peak", small, report, node_with(0)).predicted == passing_through_ram(small)


def passing_through_ram(variant: Variant) -> int:
    """The largest weight in 16 bit, on its way to a GPU."""
    return 2 * max(parameter.count for parameter in predict_all(Subject.of(variant)).footprint.parameters)
