"""Entries for architectures that no machine, or no scheme, can do as asked: what a run makes of them."""

from __future__ import annotations

import pytest

from tests.support.broken_checkpoints import toml_value, variant_entry
from tests.support.random_checkpoints import CONFIGS, save_checkpoint
from tests.support.subsession import Outcome, run_suite

_SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512}
FALCON = {"model_type": "falcon", **_SIZES}
GEMMA = {"model_type": "gemma2", "intermediate_size": 128, "num_key_value_heads": 2, "head_dim": 16, **_SIZES}
RECURRENT = {
    "model_type": "recurrent_gemma",
    "intermediate_size": 128,
    "num_key_value_heads": 1,
    "lru_width": 64,
    **_SIZES,
    "num_hidden_layers": 3,
}
FIRST_GPT = {"model_type": "openai-gpt", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 512}
T5 = {"model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4, "vocab_size": 512}


def entry(name: str, architecture: str, config: dict[str, object], **fields: object) -> str:
    told = {"id": name, "family": "other", "architecture": architecture, "source": "synthetic", "licence": "none"}
    lines = ["[[model]]", *(f"{key} = {toml_value(value)}" for key, value in {**told, **fields}.items())]
    lines += [f"config = {toml_value(config)}", "generation = { max_new_tokens = 4 }"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run over all of them, and one sound variant beside them."""
    folder = tmp_path_factory.mktemp("architectures")
    sound = entry("odd-sound", "LlamaForCausalLM", dict(CONFIGS["llama"]))
    local = {"source": "local", "path": str(save_checkpoint("llama", folder / "llama"))}
    catalogue = folder / "odd.toml"
    catalogue.write_text(
        "\n".join(
            [
                entry("odd-falcon", "FalconForCausalLM", FALCON),
                variant_entry("odd-falcon", ["bf16", "int8", "nf4", "nf4-dq"], attention="eager"),
                entry("odd-gemma", "Gemma2ForCausalLM", GEMMA),
                variant_entry("odd-gemma", ["bf16"]),
                entry("odd-t5", "T5ForConditionalGeneration", T5, auto_class="AutoModelForSeq2SeqLM"),
                variant_entry("odd-t5", ["bf16"]),
                entry("odd-recurrent", "RecurrentGemmaForCausalLM", RECURRENT),
                variant_entry("odd-recurrent", ["bf16"]),
                entry("odd-first-gpt", "OpenAIGPTLMHeadModel", FIRST_GPT),
                variant_entry("odd-first-gpt", ["bf16"], attention="eager"),
                sound,
                variant_entry("odd-sound", ["nf4-dq", "int8"]),
                variant_entry("odd-sound", ["bf16"], name="bf16-flash", attention="flash_attention_2"),
                entry("odd-local", "LlamaForCausalLM", dict(CONFIGS["llama"]), **local),
                variant_entry(
                    "odd-local",
                    ["nf4"],
                    load_options={"quantization_config": {"bnb_4bit_compute_dtype": "float16"}},
                ),
            ]
        )
    )
    asked = "odd- and (test_quantization or loads_in_asked_dtype or stored_bytes)"
    asked += " or cached_decoding and (odd-recurrent or odd-first-gpt)"
    return run_suite(tmp_path_factory.mktemp("reports"), f"--catalogue={catalogue}", "-k", asked, "--content=full")


@pytest.mark.parametrize("quantization", ["int8", "nf4", "nf4-dq"])
def test_a_scheme_that_packs_nothing_is_rejected_with_its_cause(outcome: Outcome, quantization: str) -> None:
    assert outcome.verdict == "REJECTED"
    for question in ("test_applied", "test_coverage", "test_stored_bytes", "test_packed_layers_compute"):
        assert outcome.cell(question, f"odd-falcon/{quantization}")["outcome"] == "fail"
    assert "8 of 8 linear weights" in str(outcome.cell("test_coverage", f"odd-falcon/{quantization}"))
    assert "linear weights are 16-bit" in outcome.cell("test_stored_bytes", f"odd-falcon/{quantization}")["reason"]


def test_the_same_weights_in_floats_are_sound(outcome: Outcome) -> None:
    cells = [cell for cell in outcome.results["cells"] if cell["variant"] == "odd-falcon/bf16"]
    assert len(cells) >= 5
    assert {cell["outcome"] for cell in cells} == {"pass"}


def test_a_cache_that_a_class_keeps_in_its_modules_is_compared(outcome: Outcome) -> None:
    assert outcome.cell("test_cached_decoding_agrees", "odd-recurrent/bf16")["outcome"] == "pass"
    (event,) = (
        event
        for event in outcome.events
        if event["event"] == "measurement" and event["metric"] == "cache_divergence" and "recurrent" in event["cell"]
    )
    assert 0 < event["value"] < 0.25


def test_a_class_that_has_no_cache_is_skipped_with_its_reason(outcome: Outcome) -> None:
    cell = outcome.cell("test_cached_decoding_agrees", "odd-first-gpt/bf16")
    assert (cell["outcome"], cell["code"]) == ("skip", "architecture")
    assert cell["reason"].startswith("has a class that has no cache, and computes the whole text again for each token")


@pytest.mark.parametrize("asked", ["odd-sound/nf4-dq", "odd-sound/int8", "odd-local/nf4"])
def test_sound_variants_pass_and_say_how_much_was_compared(outcome: Outcome, asked: str) -> None:
    cells = [cell for cell in outcome.results["cells"] if cell["variant"] == asked]
    assert {cell["outcome"] for cell in cells} == {"pass"}, cells
    name = "test_weights_are_the_checkpoints"
    (event,) = (
        event
        for event in outcome.events
        if event.get("metric") == "weight_excess" and event["event"] == "measurement" and asked in event["cell"]
    )
    assert name in event["cell"]
    context = event["context"]
    assert context["compared"] == context["blocks"] > 1000
    assert context["tensors"] == 21 + 2, "each weight, and the frequencies of positions as they are and as they began"


@pytest.mark.parametrize(
    ("asked", "code", "text"),
    [
        ("odd-gemma/bf16", "architecture", 'set attention = "eager" in the variant'),
        ("odd-t5/bf16", "architecture", "an encoder with a decoder"),
        ("odd-sound/bf16-flash", "package", "flash-attn"),
    ],
)
def test_what_no_load_could_do_is_a_skip_with_a_next_step(outcome: Outcome, asked: str, code: str, text: str) -> None:
    cells = [cell for cell in outcome.results["cells"] if cell["variant"] == asked]
    assert {cell["outcome"] for cell in cells} == {"skip"}
    assert all(f"skip[{code}]" in cell["reason"] or cell.get("code") == code for cell in cells)
    assert all(text in str(cell) for cell in cells)
