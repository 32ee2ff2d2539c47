"""What a checkpoint or an entry can do to a run: no damage and no trap of quantization ends green."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.broken_checkpoints import (
    copy_damaged,
    drop_tensor,
    model_entry,
    pin_attention,
    poison_with_nan,
    remove_shard,
    reshape_tensor,
    shipped,
    truncate_shard,
    variant_entry,
)
from tests.support.forked_stacks import STACKS
from tests.support.subsession import Outcome, environment, run_suite

DAMAGE = {
    "tiny-fault-truncated": truncate_shard,
    "tiny-fault-missing-shard": remove_shard,
    "tiny-fault-reshaped": reshape_tensor,
    "tiny-fault-nan": poison_with_nan,
    "tiny-fault-dropped": drop_tensor,
    "tiny-fault-attention": pin_attention,
}

# Entries over sound checkpoints whose load options fall into a trap: model, quantization, options.
TRAPS = {
    "tiny-fault-tied-skip-list": ("tiny-qwen", "nf4", {"quantization_config": {"llm_int8_skip_modules": ["q_proj"]}}),
    "tiny-fault-fp4": ("tiny-llama", "nf4", {"quantization_config": {"bnb_4bit_quant_type": "fp4"}}),
    "tiny-fault-not-nested": ("tiny-llama", "nf4-dq", {"quantization_config": {"bnb_4bit_use_double_quant": False}}),
    "tiny-fault-stock-experts": ("tiny-mixtral", "nf4", {"fused_experts": "stock"}),
    "tiny-fault-stock-experts-int8": ("tiny-mixtral", "int8", {"fused_experts": "stock"}),
}


@pytest.fixture(scope="module")
def outcome(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run over everything that is broken, and over one sound variant beside it."""
    folder = tmp_path_factory.mktemp("broken")
    entries = []
    for name, damage in DAMAGE.items():
        path = copy_damaged(trained["tiny-llama"], folder / name, damage)
        entries += [model_entry(shipped("tiny-llama"), name, path), variant_entry(name, ["bf16"])]
    for name, (model, quantization, options) in TRAPS.items():
        entries.append(model_entry(shipped(model), name, trained[model]))
        entries.append(variant_entry(name, [quantization], load_options=options))
    entries += [
        model_entry(shipped("tiny-llama"), "tiny-fault-pickle", _pickled(trained["tiny-llama"], folder / "pickle"))
    ]
    entries += [variant_entry("tiny-fault-pickle", ["bf16"])]
    catalogue = folder / "broken.toml"
    catalogue.write_text("\n".join(entries))
    return run_suite(
        tmp_path_factory.mktemp("reports"),
        f"--catalogue={catalogue}",
        "-m",
        "tiny",
        "-k",
        "tiny-fault- or tiny-llama/bf16",
    )


def _pickled(source: Path, target: Path) -> Path:
    """The same weights as a pickle, which can run code when it is loaded."""
    script = (
        "import sys, torch; from pathlib import Path; from safetensors.torch import load_file; "
        "files = map(load_file, Path(sys.argv[1]).glob('*.safetensors')); "
        "torch.save({name: weight for file in files for name, weight in file.items()}, sys.argv[2])"
    )

    def damage(folder: Path) -> None:
        for name in (*folder.glob("*.safetensors"), *folder.glob("*.index.json")):
            name.unlink()
        # Forked from what has torch.
        arguments = ("-c", script, str(source), str(folder / "pytorch_model.bin"))
        done = STACKS.run(arguments, environment())
        assert done.returncode == 0, done.stderr

    return copy_damaged(source, target, damage)


def test_run_is_rejected_and_the_sound_variant_passes(outcome: Outcome) -> None:
    assert outcome.verdict == "REJECTED", outcome.output
    assert outcome.status == 1
    sound = [cell for cell in outcome.results["cells"] if cell["variant"] == "tiny-llama/bf16"]
    assert len(sound) > 15
    assert {cell["outcome"] for cell in sound} <= {"pass", "marginal"}, outcome.output


@pytest.mark.parametrize("name", [*DAMAGE, *TRAPS, "tiny-fault-pickle"])
def test_no_broken_variant_is_green(outcome: Outcome, name: str) -> None:
    cells = [cell for cell in outcome.results["cells"] if cell["model"] == name]
    assert len(cells) > 10
    assert any(cell["outcome"] == "fail" for cell in cells), f"{name} ended green"
    assert not any(cell["outcome"] == "not_run" for cell in cells), f"{name} was not asked everything"


@pytest.mark.parametrize(
    ("name", "question", "text"),
    [
        ("tiny-fault-truncated", "test_loads_completely", "safetensors"),
        ("tiny-fault-missing-shard", "test_loads_completely", "safetensors"),
        ("tiny-fault-reshaped", "test_loads_completely", "o_proj"),
        ("tiny-fault-nan", "test_finite_logits", "NaN"),
        ("tiny-fault-dropped", "test_loads_completely", "layers.1.mlp.down_proj.weight"),
        (
            "tiny-fault-attention",
            "test_uses_asked_attention",
            "eager attention is in use, and sdpa was asked for; a `_attn_implementation` in the checkpoint's",
        ),
        ("tiny-fault-pickle", "test_loads_completely", "safetensors"),
        ("tiny-fault-tied-skip-list", "test_state", "packed by name (Linear4bit), but holds plain bfloat16"),
        ("tiny-fault-fp4", "test_state", "fp4"),
        ("tiny-fault-not-nested", "test_state", "nested"),
        ("tiny-fault-stock-experts", "test_applied", "expert"),
        ("tiny-fault-stock-experts-int8", "test_applied", "expert"),
        ("tiny-fault-stock-experts", "test_stored_bytes", "cause: experts are 16-bit: 4 tensors take"),
        ("tiny-fault-stock-experts-int8", "test_stored_bytes", "cause: experts are 16-bit: 4 tensors take"),
        ("tiny-fault-not-nested", "test_stored_bytes", "cause: statistics not double-quantized: "),
    ],
)
def test_failure_names_the_cause(outcome: Outcome, name: str, question: str, text: str) -> None:
    quantization = TRAPS[name][1] if name in TRAPS else "bf16"
    cell = outcome.cell(question, f"{name}/{quantization}")
    assert cell["outcome"] == "fail", cell
    assert text in cell["reason"], cell["reason"]


@pytest.mark.parametrize(
    "name",
    ["tiny-fault-stock-experts", "tiny-fault-stock-experts-int8", "tiny-fault-not-nested"],
)
def test_bytes_give_partial_quantization_away(outcome: Outcome, name: str) -> None:
    cell = outcome.cell("test_stored_bytes", f"{name}/{TRAPS[name][1]}")
    assert cell["outcome"] == "fail"


def test_user_catalogue_is_named_in_the_verdict(outcome: Outcome) -> None:
    assert "broken.toml" in outcome.output
