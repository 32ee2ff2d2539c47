"""`accelerate estimate-memory` beside our prediction: both errors against what a model really stores.

    python -m benchmarks.estimates [--load 2]

accelerate's own function is called (`gather_data`, of which the command prints the rows); only the empty model that it
looks at comes from the catalogue's configuration and not from the Hub. What a model stores is counted tensor by tensor
once it is loaded from made-up weights: in the runs that `reports/reference/` keeps, or, for models of at most `--load`
billion parameters, at once. Where neither was done our prediction stands in, and the table says so.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any, Final

import torch
from accelerate.commands import estimate  # type: ignore[import-untyped]

from benchmarks.reference_loads import stored_bytes
from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.prediction import Subject
from plimsoll.host.server.loading import load
from plimsoll.host.server.predict.coverage import build_skeleton
from plimsoll.host.server.predict.variant import predict_all
from plimsoll.host.specify import load_spec

VARIANTS: Final = (
    "llama-3.2-1b/bf16",
    "llama-3.2-1b/int8",
    "llama-3.2-1b/nf4",
    "llama-3.2-1b/nf4-dq",
    "qwen2.5-1.5b/nf4",
    "llama-3.2-3b/nf4",
    "phi-3-mini-4k-instruct/nf4",
    "qwen2.5-7b/int8",
    "llama-3.1-8b/nf4-dq",
    "llama-3.1-70b-instruct/nf4",
    "llama-3.1-70b-instruct/nf4-dq",
    "mixtral-8x7b-instruct-v0.1/nf4",
    "mixtral-8x22b-instruct-v0.1/nf4",
)
DTYPES: Final = {Quantization.BF16: "float16", Quantization.INT8: "int8"}
"""What accelerate calls a quantization; both forms of nf4 are `int4` to it."""


def theirs(variant: Variant) -> float:
    """Bytes by accelerate's function."""
    model = variant.model
    skeleton = build_skeleton(model.config, model.auto_class, model.architecture, "float32")
    original: Any = estimate.create_empty_model
    estimate.create_empty_model = lambda *_, **__: skeleton
    try:
        dtype = DTYPES.get(variant.quantization, "int4")
        arguments = argparse.Namespace(
            model_name=model.id, library_name="transformers", trust_remote_code=False, dtypes=[dtype]
        )
        gather: Any = estimate.gather_data
        return float(gather(arguments)[0][2])
    finally:
        estimate.create_empty_model = original


def stored(variant: Variant) -> int:
    """Bytes of every parameter and buffer of the really loaded model."""
    asked = load_spec(variant, variant.model.id, synthetic_config=variant.model.config)
    spec = replace(asked, device="cpu", device_map=None, attention="sdpa")
    return load(spec, "as-is").report.inventory.stored_bytes


def main() -> int:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=float, default=0, metavar="BILLION", help="load models up to this size")
    options = parser.parse_args()
    torch.set_num_threads(2)
    catalogue = read_catalogue()
    print("| variant | stored, GB | known by | ours, GB | error | accelerate, GB | error |")
    print("|---|---|---|---|---|---|---|")
    for name in VARIANTS:
        variant = catalogue.variants[name]
        footprint = predict_all(Subject.of(variant)).footprint
        loads = footprint.parameter_count <= options.load * 1e9
        known = stored(variant) if loads else stored_bytes(name)
        ours, other = footprint.weight_bytes, theirs(variant)
        exact = ours if known is None else known
        print(
            f"| {name} | {exact / 1e9:.3f} | {'prediction' if known is None else 'loading it'} | {ours / 1e9:.3f} | "
            f"{'' if known is None else _error(ours, exact)} | {other / 1e9:.3f} | {_error(other, exact)} |",
            flush=True,
        )
    return 0


def _error(estimated: float, exact: int) -> str:
    return "0" if estimated == exact else f"{estimated / exact - 1:+.1%}"


if __name__ == "__main__":
    sys.exit(main())
