"""Golden models in whole sessions: part of every tier, red for a faulty stack, and never green by absence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.subsession import pytest_says, run_suite

LLAMA = "tiny and golden and llama"


def golden_ids(*arguments: str) -> list[str]:
    output = pytest_says("--collect-only", "-q", *arguments).stdout
    return [line.partition("[")[2].rstrip("]") for line in output.splitlines() if "test_golden_logits[" in line]


def test_every_family_and_scheme_is_part_of_every_tier() -> None:
    families, kinds = ("llama", "mistral", "qwen", "mixtral", "phi"), ("fp32", "bf16", "fp16", "int8", "nf4", "nf4-dq")
    wanted = {f"{family}/{kind}" for family in families for kind in kinds}
    assert {one.removeprefix("cpu-") for one in golden_ids("-m", "tiny")} == wanted
    assert {one.removeprefix("gpu0-") for one in golden_ids("-m", "gpu70b")} == wanted
    assert golden_ids("-m", "tiny and nf4 and phi") == ["cpu-phi/nf4"]


def test_a_sound_stack_is_accepted_with_its_figures(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", LLAMA)
    assert outcome.verdict == "ACCEPTED", outcome.output
    cells = outcome.results["cells"]
    assert len(cells) == 6
    for cell in cells:
        (figure,) = cell["judgements"]
        assert figure["metric"] == "golden_error"
        assert 0 < figure["value"] < figure["high"]
        assert figure["source"] == "docs/golden-numbers.md"
    hosts = [event for event in outcome.events if event["event"] == "host" and event["state"] == "started"]
    assert [event["variant"] for event in hosts].count("golden") == 1


def test_a_faulty_stack_is_rejected(tmp_path: Path) -> None:
    fault = {"STACK_FAULT": "attention scale 0.9"}
    outcome = run_suite(tmp_path, "-p", "tests.support.plugins.faulty_stack", "-m", f"{LLAMA} and fp32", env=fault)
    assert outcome.verdict == "REJECTED", outcome.output
    (cell,) = outcome.results["cells"]
    assert "fail: golden_error" in cell["reason"]
    assert "[docs/golden-numbers.md]" in cell["reason"]


def test_noise_that_leaves_the_tokens_alone_is_rejected(tmp_path: Path) -> None:
    fault = {"STACK_FAULT": "1 % noise at each pass"}
    outcome = run_suite(
        tmp_path, "-p", "tests.support.plugins.faulty_stack", "-k", "greedy_repeats and tiny-llama/fp16", env=fault
    )
    assert outcome.verdict == "REJECTED", outcome.output
    (cell,) = outcome.results["cells"]
    assert "gave the same tokens from other logits the second time" in cell["reason"]


def test_a_device_that_is_not_there_is_a_gap(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "gpu8b and golden and llama and fp32", env={"CUDA_VISIBLE_DEVICES": ""})
    if outcome.verdict == "ACCEPTED":
        pytest.fail(outcome.output)
    (cell,) = outcome.results["cells"]
    assert outcome.verdict == "INCOMPLETE", outcome.output
    assert (cell["outcome"], cell["code"]) == ("skip", "no_gpu")
