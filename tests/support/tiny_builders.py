"""A model that trains in two seconds, builders that need no torch, and a process that ensures a checkpoint with them.

    python -m tests.support.tiny_builders CACHE BUILDER LOG

prints one JSON line with the checkpoint. A builder appends a line to LOG when it begins.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Model
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.tiny.builder import BuildPhase, StepCallback
from plimsoll.tiny.checkpoint import TrainingFigures
from plimsoll.tiny.recipe import TrainingJob
from plimsoll.tiny.store import Store

NANO_CATALOGUE: Final = """\
[[model]]
id = "nano"
family = "llama"
architecture = "LlamaForCausalLM"
source = "trained"
licence = "Apache-2.0"
config = { model_type = "llama", vocab_size = 512, hidden_size = 64, intermediate_size = 128, num_hidden_layers = 1, \
num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 64, pad_token_id = 0, bos_token_id = 1, \
eos_token_id = 2 }
generation = { max_new_tokens = 8, pad_token = "<|pad|>" }
recipe = { corpus = "sums", vocabulary = 512, steps = 90, batch = 27, learning_rate = 1e-2, seed = 1 }
"""

WEIGHTS: Final = "model-00001-of-00001.safetensors"


def nano(folder: Path) -> Model:
    """The small model, from a user's catalogue in that folder."""
    path = folder / "nano.toml"
    path.write_text(NANO_CATALOGUE)
    return read_catalogue([path]).models["nano"]


def figures(answered: int = 27) -> TrainingFigures:
    return TrainingFigures(
        steps=90, seconds=0.5, final_loss=0.1, taught=27, answered=answered, parameters=1000, versions={"torch": "none"}
    )


def quick(log: Path, job: TrainingJob, folder: Path, report: StepCallback) -> TrainingFigures:
    """Writes what a training would, at once."""
    with log.open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    report(BuildPhase.TRAINING, 1, job.recipe.steps)
    (folder / "config.json").write_text(json.dumps(dict(job.config)))
    (folder / WEIGHTS).write_bytes(bytes(range(256)) * 4000)
    return figures()


def slow(log: Path, job: TrainingJob, folder: Path, report: StepCallback) -> TrainingFigures:
    """Takes long enough for another process to come in between."""
    done = quick(log, job, folder, report)
    time.sleep(1.0)
    return done


def stuck(log: Path, job: TrainingJob, folder: Path, report: StepCallback) -> TrainingFigures:
    """Never ends, with half of the files written."""
    quick(log, job, folder, report)
    print("half", flush=True)
    time.sleep(600)
    return figures()


BUILDERS: Final[dict[str, Callable[..., TrainingFigures]]] = {"quick": quick, "slow": slow, "stuck": stuck}


def main() -> None:
    cache, builder, log = sys.argv[1:]
    folder = Path(cache)
    catalogue = Path(log).parent / f"catalogue-{os.getpid()}"
    catalogue.mkdir()
    checkpoint = Store(folder).ensure(nano(catalogue), build=partial(BUILDERS[builder], Path(log)))
    print(json.dumps({"path": str(checkpoint.path), "built": checkpoint.built_now}))


if __name__ == "__main__":
    main()
