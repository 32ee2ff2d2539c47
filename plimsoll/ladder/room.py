"""What there is room for: the memory that rungs are cut to, and the gate's word on each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.errors import PlimsollError
from plimsoll.footprint.demand import demand_of
from plimsoll.footprint.prediction import Workload
from plimsoll.gate.decide import decide
from plimsoll.gate.need import need_of
from plimsoll.gate.skip import Skip
from plimsoll.hub.access import Access
from plimsoll.ladder.rungs import TOKENS, Room
from plimsoll.node.node import Node
from plimsoll.node.visible import free_gpus
from plimsoll.plan.predictions import Predictions

_PROMPT = 32
"""Tokens of the question, chat template and all, that a rung is validated with."""


def quantization_of(config: Mapping[str, Any]) -> Quantization:
    """What a checkpoint is loaded in: bfloat16, or the scheme that it was packed in."""
    own = config.get("quantization_config")
    if not isinstance(own, Mapping):
        return Quantization.BF16
    if own.get("load_in_8bit"):
        return Quantization.INT8
    double = own.get("bnb_4bit_use_double_quant")
    return (Quantization.NF4_DQ if double else Quantization.NF4) if own.get("load_in_4bit") else Quantization.BF16


def room_of(base: Variant, node: Node, device: str, predictions: Predictions, ram: int | None) -> Room:
    """The memory of a node, and what the weights take of it; `ram` is what a host may have where that is limited."""
    packed = base.quantization.is_quantized
    plain = base if packed else replace(base, quantization=Quantization.BF16)
    try:
        weights: int | None = predictions.of(plain).footprint.weight_bytes
    except PlimsollError:
        weights = None
    available = node.memory.available
    return Room(
        gpus=free_gpus(node) if device == "cuda" else (),
        ram=available if ram is None else min(ram, available),
        weights=weights,
    )


def gate(variant: Variant, *, node: Node, predictions: Predictions, access: Access | None) -> Skip | str | None:
    """Why a variant cannot run on this node with a short answer; None where it can, and where nobody can say: trying
    tells then."""
    try:
        prediction = predictions.of(variant)
        placement = predictions.placement(variant, free_gpus(node)) if variant.tier.device == "cuda" else None
        demand = demand_of(variant, prediction, placement)
    except PlimsollError:
        return None
    need = need_of(variant, demand, Workload(batch=1, prompt=_PROMPT, new=TOKENS))
    decision = decide(variant, node, need, access)
    return decision if isinstance(decision, Skip) else None
