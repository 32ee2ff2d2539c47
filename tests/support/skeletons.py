"""The models of the catalogue on the meta device, each shape built once: entries of one shape share it, and every
quantization of it is read off the same skeleton."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import nn

from plimsoll.catalogue.entries import Model, Quantization, Variant
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.server.predict.coverage import build_skeleton
from plimsoll.host.server.predict.variant import footprint_of

_SHAPELESS = {"bos_token_id", "eos_token_id", "max_position_embeddings", "rms_norm_eps"}
"""What Instruct and base models of one shape differ in."""

_FOOTPRINTS: dict[tuple[str, str, str], Footprint] = {}


def skeleton(model: Model, dtype: str = "bfloat16") -> nn.Module:
    """The model on the meta device. Raises PlimsollError where its entry does not give the class that it names."""
    return _built(_shape(model), model.auto_class, model.architecture, dtype)


def footprint(variant: Variant) -> Footprint:
    """What a variant should store."""
    dtype = variant.quantization.compute_dtype
    key = (_shape(variant.model), variant.quantization.value, dtype)
    if key not in _FOOTPRINTS:
        _FOOTPRINTS[key] = footprint_of(skeleton(variant.model, dtype), variant.quantization)
    return _FOOTPRINTS[key]


def predict(
    config: Mapping[str, Any],
    auto_class: str,
    architecture: str,
    quantization: Quantization,
    *,
    experts_covered: bool = True,
) -> Footprint:
    """What a configuration should store, without an entry."""
    model = build_skeleton(config, auto_class, architecture, quantization.compute_dtype)
    return footprint_of(model, quantization, experts_covered=experts_covered)


def _shape(model: Model) -> str:
    return json.dumps({key: value for key, value in model.config.items() if key not in _SHAPELESS}, sort_keys=True)


@cache
def _built(shape: str, auto_class: str, architecture: str, dtype: str) -> nn.Module:
    return build_skeleton(json.loads(shape), auto_class, architecture, dtype)
