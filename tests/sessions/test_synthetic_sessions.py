"""Whole runs with synthetic weights: what is asked, what is left out, and what the verdict says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.subsession import Outcome, run_inside, run_suite

MINE = """
[[tier]]
id = "gpu1b"
description = "a tier that asks for a GPU"
device = "cuda"
cold_rounds = 1
warm_rounds = 1
load_deadline = "2 min"
request_deadline = "2 min"
replaces = true

[[variant]]
models = ["tiny-mixtral"]
quantizations = ["nf4-dq"]
name = "far"
tier = "gpu1b"

[[model]]
id = "made-up"
family = "other"
architecture = "OlmoeForCausalLM"
source = "synthetic"
licence = "none: nobody made it"
generation = { max_new_tokens = 8 }

[model.config]
model_type = "olmoe"
vocab_size = 512
hidden_size = 128
intermediate_size = 256
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
num_experts = 4
num_experts_per_tok = 2

[[variant]]
models = ["made-up"]
quantizations = ["nf4"]
tier = "tiny"

[[claim]]
variants = ["tiny-mixtral/far"]
metric = "quantized_divergence"
high = 0.1
unit = "nats"
source = "this test"
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest mixture of experts, as a variant for a GPU."""
    file = tmp_path_factory.mktemp("mine") / "mine.toml"
    file.write_text(MINE)
    return file


@pytest.fixture(scope="module")
def run(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    reports = tmp_path_factory.mktemp("reports")
    mine = ("-m", "gpu1b", "-k", "tiny-mixtral", f"--catalogue={catalogue}")
    return run_suite(reports, *mine, "--weights=synthetic", "--layers=1", "--device=cpu")


VARIANT = "tiny-mixtral:1-layer/far:cpu"
CLAIMED = {"test_peak_ram", "test_ram_held", "test_ram_returns"}
MEANINGFUL = {"test_taught_answers", "test_ends_by_itself", "test_no_degenerate_repetition", "test_pad_and_eos"}
FROM_DISK = {"test_cold_load_time", "test_warm_load_time", "test_loads_from_safetensors", "test_free_disk"}


def test_a_cut_model_on_the_cpu_is_judged_under_its_own_name(run: Outcome) -> None:
    cells = run.results["cells"]
    assert {cell["variant"] for cell in cells} == {VARIANT}, run.output
    assert {cell["weights"] for cell in cells} == {"synthetic"}
    assert (run.status, run.verdict) == (0, "ACCEPTED"), run.output
    questions = {cell["question"] for cell in cells}
    assert not questions & (CLAIMED | MEANINGFUL | FROM_DISK)
    assert {
        "test_applied",
        "test_stored_bytes",
        "test_peak_ram_as_predicted",
        "test_ram_holds_the_weights",
        "test_weights_are_returned",
        "test_finite_logits",
        "test_greedy_repeats",
        "test_close_to_16_bit",
    } <= questions


def test_the_scope_says_what_it_was_reached_on(run: Outcome) -> None:
    said = run.output.splitlines()[-1]
    scope = "over -m gpu1b -k tiny-mixtral --weights=synthetic --layers=1 --device=cpu:"
    assert scope in said
    notes = run.results["verdict"]["notes"]
    count = len(run.results["cells"])
    assert (
        f"weights are synthetic in {count} of {count} checks: load time from disk and meaning of the text are not "
        "judged there"
    ) in notes
    assert (
        f"cpu in {count} of {count} checks: it stands in for a GPU, whose memory and speed are not measured there"
    ) in notes
    assert f"1-layer in {count} of {count} checks: what the whole model takes is not measured there" in notes


def test_a_load_says_in_the_evidence_that_it_read_nothing(run: Outcome) -> None:
    (load,) = {str(event["report"]["synthetic"]) for event in run.events if event["event"] == "load"}
    assert load == "True"


def test_stored_bytes_are_those_of_one_layer(run: Outcome) -> None:
    cell = run.cell("test_stored_bytes", VARIANT)
    (judgement,) = cell["judgements"]
    assert cell["outcome"] == "pass"
    assert judgement["low"] == judgement["high"] == judgement["value"]
    # Two embeddings of 1024 x 128 in 16 bit, and one layer in about half a byte a weight.
    assert 2 * 2 * 1024 * 128 < judgement["value"] < 800_000


def test_synthetic_weights_of_the_tiny_tier_keep_their_names(tmp_path: Path) -> None:
    arguments = ("-m", "tiny", "-k", "tiny-llama/nf4-dq and not generation")
    outcome = run_suite(tmp_path, *arguments, "--weights=synthetic")
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    assert outcome.cell("test_ram_returns", "tiny-llama/nf4-dq")["outcome"] == "pass"


def test_an_entry_can_ask_for_synthetic_weights_itself(catalogue: Path, tmp_path: Path) -> None:
    asked = "test_applied or test_stored_bytes or test_finite_logits or test_cold_load_time or test_pad_and_eos"
    outcome = run_suite(tmp_path, f"--catalogue={catalogue}", "-k", f"made-up and ({asked})")
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    questions = {cell["question"]: cell["weights"] for cell in outcome.results["cells"]}
    assert questions == dict.fromkeys(("test_applied", "test_stored_bytes", "test_finite_logits"), "synthetic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layers=1",), "--layers=1 takes layers away, and a checkpoint has them all: add --weights=synthetic"),
        (
            ("--layers=0", "--weights=synthetic"),
            "--layers: must be a whole number from 1 to 1,000,000, not '0'",
        ),
        (
            ("--layers=two", "--weights=synthetic"),
            "--layers: must be a whole number from 1 to 1,000,000, not 'two'",
        ),
        (("--device=tpu",), "argument --device: invalid choice: 'tpu'"),
        (
            ("--weights=synthetic", "--model-dir=tiny-llama=x"),
            "--model-dir names folders, and --weights=synthetic asks",
        ),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, "-m", "tiny", *arguments)
    assert outcome.status == 4
    assert message in outcome.output
    assert "Traceback" not in outcome.output
