"""TF32 by the environment: float32 that is rounded, or TF32 that is computed exactly, is told with the variable."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from acceptance.test_golden import test_golden_logits as golden_logits
from fixtures.device_speed import SpeedMeter
from fixtures.golden import GoldenResult, _causes
from fixtures.judging import Judge
from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.golden import GoldenLimit
from plimsoll.judge.golden import GoldenErrors
from plimsoll.judge.judgement import Judgement, Limit, Measurement, judge
from plimsoll.judge.tensor_float import exact_causes, rounded_causes
from plimsoll.node.devices import CPU_DEVICE, NO_GPU, Device
from plimsoll.node.node import Node
from plimsoll.plan.cases import GoldenCase

ROUNDED = {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
EXACT = {"NVIDIA_TF32_OVERRIDE": "0"}


def causes(device: Device, quantization: Quantization, environment: dict[str, str]) -> tuple[str, ...]:
    case = cast("GoldenCase", SimpleNamespace(device=device, quantization=quantization))
    return _causes(case, cast("Node", SimpleNamespace(environment=environment)))


def judged(value: float) -> Judgement:
    limit = Limit(metric="golden_error", high=6e-6, source="docs/golden-numbers.md")
    return judge(Measurement(metric="golden_error", value=value), limit)


def test_float32_that_an_image_has_rounded_is_told_with_its_variable() -> None:
    [cause] = causes(NO_GPU, Quantization.FP32, ROUNDED)
    assert cause.startswith("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1, which NVIDIA's images set, has GPUs round")
    assert causes(NO_GPU, Quantization.BF16, ROUNDED) == ()
    assert causes(CPU_DEVICE, Quantization.FP32, ROUNDED) == ()
    assert causes(NO_GPU, Quantization.FP32, {}) == ()
    assert rounded_causes({"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0"}) == ()


@pytest.mark.parametrize(("error", "told"), [(1.4e-3, ("why",)), (1.5e-6, ())])
def test_the_check_explains_an_error_that_is_too_large(error: float, told: tuple[str, ...]) -> None:
    seen: dict[str, Any] = {}
    result = GoldenResult(
        errors=GoldenErrors(ways={"sdpa, whole": error}),
        limit=GoldenLimit(quantizations=(Quantization.FP32,), families=("llama",), high=6e-6, source="docs"),
        logits_sha256="0" * 64,
        causes=("why",),
    )
    golden_logits(result, cast("Judge", SimpleNamespace(limit=lambda *_, **fields: seen.update(fields))))
    assert seen["explain"](judged(error)) == told


@pytest.mark.parametrize(("of", "told"), [("tf32", exact_causes(EXACT)), ("bf16", None)])
def test_tf32_that_the_environment_forbids_is_told_with_its_variable(of: str, told: tuple[str, ...] | None) -> None:
    seen: dict[str, Any] = {}
    floor = SimpleNamespace(low=247e12, sheet=None, source="the suite's own")
    run = SimpleNamespace(catalogue=SimpleNamespace(floor_of=lambda *_: floor))
    meter = SpeedMeter(cast("Any", None), cast("Any", run), EXACT)
    rates = cast("Any", SimpleNamespace(best="8192", spread=0.0, medians={}, rounds=(5e13,), rate=5e13))
    recorder = cast("Judge", SimpleNamespace(limit=lambda *_, **fields: seen.update(fields)))
    meter.floor(recorder, NO_GPU, "matmul_rate", rates, of)
    explain = seen["explain"]
    assert (None if explain is None else explain(judged(1.0))) == told
    assert exact_causes({}) == ()
    assert exact_causes(EXACT)[0].startswith("NVIDIA_TF32_OVERRIDE=0 has NVIDIA's libraries compute in float32")
