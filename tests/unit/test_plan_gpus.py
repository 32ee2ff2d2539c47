"""On which GPU a plan puts each variant, and which GPU would carry nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.plan.estimates import AssumedSpeeds
from plimsoll.plan.placing import GpuChoice
from plimsoll.plan.planning import Deal, PlannedMachine, PlanRow, deal_of, machine_of
from plimsoll.plan.table import carrying, render, to_json
from tests.support.gate_subjects import GB
from tests.support.schemas import validator
from tests.unit.test_plan_capacity import Fixed, planner

CATALOGUE = read_catalogue()
VARIANTS = [CATALOGUE.variants[name] for name in ("llama-3.1-8b/bf16", "qwen2.5-7b/bf16", "tiny-llama/bf16")]


def machine(*gigabytes: int) -> PlannedMachine:
    """Four A100, with so much memory each."""
    found = machine_of(CATALOGUE.profiles["a100-80g-x4"])
    gpus = tuple(
        replace(gpu, memory_total=size * GB, memory_free=size * GB)
        for gpu, size in zip(found.node.gpus, gigabytes, strict=True)
    )
    return replace(found, node=replace(found.node, gpus=gpus))


def plan(where: PlannedMachine, gpus: str, weights: int = 30) -> tuple[list[PlanRow], Deal]:
    predictions: Any = Fixed(weights * GB)
    deal = deal_of(where, VARIANTS, GpuChoice.of(gpus), predictions)
    assert deal is not None
    return planner(weights * GB).rows(VARIANTS, where, deal), deal


def ids(rows: list[PlanRow]) -> list[str]:
    return [row.variant.id for row in rows]


def test_variants_are_dealt_as_a_run_deals_them() -> None:
    rows, deal = plan(machine(80, 80, 80, 80), "spread")
    assert ids(rows) == [
        *("llama-3.1-8b/bf16:gpu0", "llama-3.1-8b/bf16:gpu2"),
        *("qwen2.5-7b/bf16:gpu1", "qwen2.5-7b/bf16:gpu3"),
        "tiny-llama/bf16",
    ]
    assert [one.runs for one in carrying(rows, deal)] == [
        ("llama-3.1-8b/bf16:gpu0",),
        ("qwen2.5-7b/bf16:gpu1",),
        ("llama-3.1-8b/bf16:gpu2",),
        ("qwen2.5-7b/bf16:gpu3",),
    ]
    assert ids(plan(machine(80, 80, 80, 80), "first")[0]) == [
        "llama-3.1-8b/bf16:gpu0",
        "qwen2.5-7b/bf16:gpu0",
        "tiny-llama/bf16",
    ]
    assert len(plan(machine(80, 80, 80, 80), "each")[0]) == 2 * 4 + 1


def test_each_row_speaks_of_the_gpu_that_it_names() -> None:
    rows, _ = plan(machine(80, 40, 80, 80), "each", weights=10)
    assert [row.available for row in rows[:4]] == [80 * GB, 40 * GB, 80 * GB, 80 * GB]


def test_a_gpu_that_nothing_fits_is_named_with_what_that_means() -> None:
    where = machine(80, 80, 80, 16)
    rows, deal = plan(where, "spread")
    assert not any("gpu3" in name for name in ids(rows))
    text = render(where, rows, AssumedSpeeds(), deal)
    (line,) = [line for line in text.splitlines() if line.startswith("gpu3 ")]
    assert line.endswith("no model, so that a run would end INCOMPLETE: nothing that is selected fits it")
    (line,) = [line for line in text.splitlines() if line.startswith("gpu2 ")]
    assert line.endswith("  llama-3.1-8b/bf16")


def test_what_goes_to_a_gpu_and_does_not_run_is_no_load() -> None:
    where = machine(16, 16, 16, 16)
    rows, deal = plan(where, "spread")
    first = carrying(rows, deal)[0]
    assert (first.dealt, first.runs) == (("llama-3.1-8b/bf16:gpu0", "qwen2.5-7b/bf16:gpu0"), ())
    assert first.text == "no model, so that a run would end INCOMPLETE: nothing of what goes to it would run"


def test_gpus_that_are_left_out_are_told() -> None:
    where = machine(80, 80, 80, 80)
    rows, deal = plan(where, "1,3")
    assert {one.gpu.id: one.text for one in carrying(rows, deal) if not one.used} == dict.fromkeys(
        ("gpu0", "gpu2"), "left out by --gpus"
    )
    assert all(set(row.variant.gpus) <= {"gpu1", "gpu3"} for row in rows)
    document: dict[str, Any] = {
        "assumptions": {"disk_bytes_per_second": 2e9, "link_bytes_per_second": 12e9},
        "plans": [to_json(where, rows, deal)],
    }
    validator("plan").validate(document)
    assert [one["used"] for one in document["plans"][0]["placement"]] == [False, True, False, True]


def test_a_gpu_that_is_none_is_refused() -> None:
    with pytest.raises(PlimsollError, match="--gpus: 7 names no GPU that this session may use; known: gpu0, gpu1"):
        plan(machine(80, 80, 80, 80), "7")


def test_a_machine_of_one_gpu_has_nothing_to_deal() -> None:
    predictions: Any = Fixed(GB)
    assert deal_of(machine_of(CATALOGUE.profiles["a100-80g"]), VARIANTS, GpuChoice.of("each"), predictions) is None
