"""Bounds for what documents say that training takes: a step of each usual way to train, followed on the meta device.

A document with a figure for training seldom says how it trains. So the figure is compared with several ways: the
expected one is the documents' way, a small bridge into a frozen model; the others give the least and the most, and the
nearest is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from plimsoll.audit.bounds import Bounds
from plimsoll.catalogue.entries import Claim, Variant
from plimsoll.errors import PlimsollError
from plimsoll.footprint.training import DEFAULT_BRIDGE, Mode, Optimizer, StepParts, Training
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.metrics import METRICS, Predicted
from plimsoll.plan.predictions import Predictions
from plimsoll.units import format_bytes

_RULES: Final = (Predicted.TRAINING, Predicted.UNBOUNDED_TRAINING)
_LENGTH: Final = 1536
"""Tokens, where a claim's conditions say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to train."""

    name: str
    training: Training
    attention: str | None = None
    """The attention, in place of the entry's own."""
    takes_two: bool = False
    """True where a second model can take part."""


_BRIDGE: Final = Training(mode=Mode.BRIDGE, size=DEFAULT_BRIDGE)
_LEAST: Final = Training(mode=Mode.BRIDGE, size=10**6, optimizer=Optimizer.SGD, checkpointing=True)
WAYS: Final = (
    Way(name="a bridge into a frozen model", training=_BRIDGE, takes_two=True),
    Way(name="the same with layers computed again", training=replace(_BRIDGE, checkpointing=True), takes_two=True),
    Way(name="a bridge of 1M so, by SGD", training=_LEAST, takes_two=True),
    Way(name="the first with eager attention", training=_BRIDGE, attention="eager", takes_two=True),
    Way(name="all weights with AdamW", training=Training(mode=Mode.FULL)),
)
"""The first is what is expected. All with the loss as transformers computes it, in float32 over all logits at once."""


def is_about_training(claim: Claim) -> bool:
    """True for a claim about training."""
    return METRICS[claim.metric].predicted in _RULES


def training_bounds(claim: Claim, variants: tuple[Variant, ...], predictions: Predictions) -> Bounds:
    """The bounds of a claim about training one variant, or two that a bridge joins, the first into the second.

    Raises HostStartError where predictions need a host and none can be started.
    """
    if len(variants) > 2:
        return Bounds(basis=f"a bridge joins two models, and the claim is about {len(variants)}")
    try:
        steps = dict(_steps(claim, variants, predictions))
    except PlimsollError as error:
        return Bounds(basis=str(error))
    whole = METRICS[claim.metric].predicted is Predicted.TRAINING
    sizes = {name: parts.peak if whole else parts.activations for name, parts in steps.items()}
    expected = sizes[WAYS[0].name]
    return Bounds(
        least=min(sizes.values()),
        expected=expected,
        most=max(sizes.values()),
        basis=_basis(claim, sizes, whole=whole),
        instead=f"{format_bytes(expected)} for {WAYS[0].name} of {_BRIDGE.size // 10**6}M parameters, with fused "
        "attention" + (", the CUDA context not counted" if whole else ""),
    )


def _steps(claim: Claim, variants: tuple[Variant, ...], predictions: Predictions) -> Iterator[tuple[str, StepParts]]:
    told = claim.conditions
    batch, length, accumulation = (
        int(told.get(name, otherwise)) for name, otherwise in (("batch", 1), ("sequence", _LENGTH), ("accumulation", 1))
    )
    for way in WAYS:
        if len(variants) == 1 or way.takes_two:
            used = [v if way.attention is None else replace(v, attention=way.attention) for v in variants]
            step = predictions.step(way.training, used[-1], used[0] if len(used) > 1 else None)
            yield way.name, step.at(batch, length, accumulation=accumulation)


def _basis(claim: Claim, sizes: Mapping[str, int], *, whole: bool) -> str:
    told = "; ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items())
    if claim.low is not None and claim.high is not None:
        middle = (claim.low + claim.high) / 2
        nearest = min(sizes, key=lambda name: abs(sizes[name] - middle))
        return f"{told}; the document's figure is nearest to {nearest}, {sizes[nearest] / middle - 1:+.0%} from it"
    if not whole or claim.high is None:
        return told
    margin = claim.high - sizes[WAYS[0].name] - CONTEXT_ALLOWANCE
    word = "left" if margin >= 0 else "lacking"
    return f"{told}; with the first and the CUDA context {format_bytes(abs(margin))} are {word}"
