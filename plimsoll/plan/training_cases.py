"""Lists the training checks of each variant: the ways to train, and the batch sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.footprint.training import DEFAULT_BRIDGE, DEFAULT_RANK, Mode, Training
from plimsoll.node.devices import CPU_KIND

_BRIDGE: Final = {CPU_KIND: 2**14}
"""Parameters of a tiny model's bridge; a large model has the bridge of the documents."""
_LENGTH: Final = {CPU_KIND: 96}
_LONG: Final = 1536
_BATCH: Final = 2
STEPS: Final = 5
RATES: Final = {Mode.FULL: 1e-3, Mode.LORA: 3e-3, Mode.BRIDGE: 3e-3}
"""Learning rates with which a few steps on one text lower the loss visibly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCase:
    """One way to train one variant."""

    variant: Variant
    training: Training
    length: int
    batch: int = _BATCH

    @property
    def id(self) -> str:
        """The parameter's id; it begins like the variant's, so that `-k` selects both."""
        return f"{self.variant.id}-{self.training.mode}"


def replicated(variants: Iterable[Variant]) -> Variant | None:
    """The variant that several ranks train: the first tiny one in bf16, which fits every device; None for none."""
    return next(
        (one for one in variants if one.model.recipe is not None and one.quantization is Quantization.BF16), None
    )


def training_cases(variants: Iterable[Variant]) -> Iterator[TrainingCase]:
    """The cases of bf16 variants on one device, as in the documents: a bridge, LoRA, and for tiny models, which leave
    room for it on any machine, full training."""
    for variant in variants:
        if variant.quantization is not Quantization.BF16 or variant.device_map is not None:
            continue
        small = variant.model.recipe is not None
        kind = CPU_KIND if small else variant.tier.device
        sizes = {Mode.BRIDGE: _BRIDGE.get(kind, DEFAULT_BRIDGE), Mode.LORA: DEFAULT_RANK}
        if small:
            sizes[Mode.FULL] = 0
        for mode, size in sizes.items():
            training = Training(mode=mode, size=size)
            yield TrainingCase(variant=variant, training=training, length=_LENGTH.get(kind, _LONG))
