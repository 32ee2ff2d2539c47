"""Computes the memory and disk for making the bf16 reference logits, one part of the model after the other."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Quantization, Variant, WeightSource
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import Prediction

_PACKED: Final = "quantization_config"
_HALF: Final = 2
_ROWS: Final = 8
_TOKENS: Final = 256
"""The texts of the comparison: eight short ones, or two paragraphs, in one pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceNeed:
    """The need in bytes, after the packed model was dropped."""

    on_device: int
    """The largest part and the activations of one pass."""
    ram: int
    """In RAM, on the way to a GPU; the same as `on_device` without a GPU."""
    disk: int
    """On disk, for experts that files store separately, which are joined first; other weights are read in place."""
    read: int
    """Bytes read from the checkpoint."""


def says_packed(path: Path) -> bool:
    """True where a config.json says that its weights are packed; False for an unreadable one, which loading reports."""
    try:
        return _PACKED in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def is_compared(variant: Variant) -> bool:
    """True where the suite compares a variant with bf16: synthetic weights only if cut to few layers, and never weights
    that were saved packed, which do not exist in bf16."""
    model = variant.model
    if model.is_packed:
        return False
    from_files = model.source is not WeightSource.SYNTHETIC
    return variant.quantization is not Quantization.BF16 and (from_files or model.is_cut)


def reference_need(variant: Variant, prediction: Prediction) -> ReferenceNeed | None:
    """The need of a variant's reference; None for a variant that is not compared."""
    if not is_compared(variant):
        return None
    footprint = prediction.footprint
    whole = _HALF * footprint.parameter_count
    parts: Counter[str] = Counter()
    for parameter in footprint.parameters:
        parts[parameter.name.rpartition(".")[0]] += _HALF * parameter.count
    # Synthetic weights are in no file, and are made as a whole.
    part = whole if variant.model.source is WeightSource.SYNTHETIC else max(parts.values())
    moment = prediction.prompt_bytes(_ROWS, _TOKENS, all_logits=True) or 0
    joined = sum(_HALF * p.count for p in footprint.parameters if len(p.shape) == 3 and p.published not in ("", p.name))
    return ReferenceNeed(on_device=part + moment, ram=part, disk=joined, read=whole)


def reference_place(variant: Variant) -> int:
    """Where the reference is computed: the first GPU, or RAM."""
    return RAM if variant.tier.device == "cpu" else 0
