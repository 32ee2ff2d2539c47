"""What the gate is asked about: a variant of a large model, and recorded nodes with single facts changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plimsoll.catalogue.entries import Generation, Model, Origin, Quantization, Tier, Variant, WeightSource
from plimsoll.node.node import Node

RECORDED = Path(__file__).parent / "recorded"
ORIGIN = Origin(file=Path("catalogue/test.toml"), key="model[0]")
GB = 10**9


def variant_of(
    device: str = "cuda",
    quantization: Quantization = Quantization.BF16,
    device_map: Mapping[str, str | int] | str | None = None,
    source: WeightSource = WeightSource.SYNTHETIC,
    gated: bool = False,
) -> Variant:
    model = Model(
        id="llama-3.1-70b",
        family="llama",
        auto_class="AutoModelForCausalLM",
        architecture="LlamaForCausalLM",
        config={"model_type": "llama"},
        source=source,
        hub_id="meta-llama/Llama-3.1-70B",
        generation=Generation(max_new_tokens=8),
        licence="llama3.1",
        gated=gated,
        origin=ORIGIN,
    )
    tier = Tier(
        id="gpu70b",
        description="",
        device=device,
        cold_rounds=0,
        warm_rounds=1,
        load_deadline=60.0,
        request_deadline=60.0,
        origin=ORIGIN,
    )
    return Variant(
        id=f"llama-3.1-70b/{quantization}",
        model=model,
        quantization=quantization,
        tier=tier,
        device_map=device_map,
        origin=ORIGIN,
    )


def with_gpu(node: Node, index: int, **changes: Any) -> Node:
    gpus = tuple(replace(gpu, **changes) if gpu.index == index else gpu for gpu in node.gpus)
    return replace(node, gpus=gpus)


def with_environment(node: Node, **variables: str) -> Node:
    return replace(node, environment={**node.environment, **variables})
