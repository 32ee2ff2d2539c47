"""Training in whole sessions: asked by name alone, green with its figures, and red where a step does not learn."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.forked_stacks import STACKS, STACKS_ADDRESS
from tests.support.subsession import Outcome, pytest_says, run_suite

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


FAULTS = {
    "tiny-llama": ("no update", "fail: training_loss_fall 0"),
    "tiny-qwen": ("nothing is frozen", "bytes were frozen, of a model of"),
    "tiny-mistral": ("frozen weights move", "a step changed weights that are frozen"),
    "tiny-mixtral": ("gradients are no numbers", "a gradient is not finite"),
    "tiny-phi": ("nothing is counted", "it did not see the step"),
}
"""Model -> the fault of the host that trains it, and what is told of it."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run, in which each model is trained with another fault."""
    planted = {model: fault for model, (fault, _) in FAULTS.items()}
    env = {"STACK_FAULTS": "tests.support.training_faults", "STACK_FAULT_OF": json.dumps(planted)}
    asked = ("-m", "headroom and tiny", "-k", "learns and bf16-bridge")
    reports = tmp_path_factory.mktemp("faulty")
    return run_suite(reports, *asked, "-p", "tests.support.plugins.faulty_stack", env=env, timeout=600)


@pytest.mark.parametrize("model", FAULTS)
def test_a_fault_of_training_is_rejected(faulty: Outcome, model: str) -> None:
    _, told = FAULTS[model]
    assert faulty.verdict == "REJECTED", faulty.output
    (cell,) = [cell for cell in faulty.results["cells"] if cell["model"] == model]
    assert cell["outcome"] == "fail"
    assert told in str(cell["reason"])


def test_lora_without_peft_is_a_gap_that_names_the_extra(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "headroom and tiny", "-k", "learns and tiny-llama/bf16-lora")
    if find_spec("peft") is not None:
        assert outcome.verdict == "ACCEPTED", outcome.output
        return
    assert outcome.verdict == "INCOMPLETE"
    assert "1 check skipped (package): has no peft, needs peft, of the extra lora" in outcome.output
    assert "    to run them: pip install " in outcome.output


def test_ranks_on_a_processor_are_accepted(tmp_path: Path) -> None:
    """By torchrun and its ranks as they are, though forked; tests/process/test_ranks.py starts them."""
    told = {STACKS_ADDRESS: str(STACKS.address)}
    outcome = run_suite(tmp_path, "-m", "ddp and tiny", "-p", "tests.support.plugins.forked_ranks", env=told)
    assert outcome.verdict == "ACCEPTED", outcome.output
    assert len(outcome.results["cells"]) == 2
