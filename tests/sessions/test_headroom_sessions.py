"""Training in whole sessions: asked by name alone, green with its figures, and red where a step does not learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests.support.subsession import pytest_says, run_suite

BRIDGE = ("-m", "headroom and tiny", "-k", "tiny-llama/bf16-bridge")


def test_training_is_no_part_of_a_tier() -> None:
    assert "test_learns" not in pytest_says("--collect-only", "-q", "-m", "tiny").stdout
    named = pytest_says("--collect-only", "-q", "-m", "tiny and headroom").stdout
    ways = [line for line in named.splitlines() if "test_learns[" in line]
    assert len(ways) == 5 * 3


def test_a_step_is_accepted_with_its_figures(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *BRIDGE)
    assert outcome.verdict == "ACCEPTED", outcome.output
    judged = {figure["metric"]: figure for cell in outcome.results["cells"] for figure in cell["judgements"]}
    assert set(judged) == {
        "training_loss_fall",
        "training_peak",
        "accumulation_difference",
        "recomputed_difference",
    }
    peak = judged["training_peak"]
    assert peak["low"] < peak["value"] < peak["high"]
    assert "predicted from the configuration" in peak["source"]


def test_lora_without_peft_is_a_gap_that_names_the_extra(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "headroom and tiny", "-k", "learns and tiny-llama/bf16-lora")
    if find_spec("peft") is not None:
        assert outcome.verdict == "ACCEPTED", outcome.output
        return
    assert outcome.verdict == "INCOMPLETE"
    assert "1 check skipped (package): has no peft, needs peft, of the extra lora" in outcome.output
    assert "    to run them: pip install " in outcome.output


def test_ranks_on_a_processor_are_accepted(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "ddp and tiny")
    assert outcome.verdict == "ACCEPTED", outcome.output
    assert len(outcome.results["cells"]) == 2
