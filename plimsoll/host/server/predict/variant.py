"""Predicts what a variant takes from its configuration, before a byte is loaded.

Gates, plans and the judgement of a loaded model rest on it. What is stored must not be wrong by a byte: the tests hold
it against the inventory of really loaded models, in every quantization.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import torch
from torch import nn

from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.footprint.packing import packed
from plimsoll.footprint.prediction import ArchitectureFacts, Prediction, Subject
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.footprint.training import StepPrediction, Training
from plimsoll.host.server.predict.activations import ForwardPasses
from plimsoll.host.server.predict.checkpoint_names import published_names
from plimsoll.host.server.predict.config import setting_of
from plimsoll.host.server.predict.coverage import Coverage, build_skeleton, logical_shape
from plimsoll.host.server.predict.layers import left_as_found
from plimsoll.host.server.predict.obstacles import obstacle_of, unasked_defaults, unpackable
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.predict.placement import place
from plimsoll.host.server.predict.training import Base, predict_step

_KEPT_MODELS: Final = 4
"""How many models on the meta device are kept: variants of one model are asked for one after another."""


def predict_all(subject: Subject) -> Prediction:
    """What a variant stores, and what its forward passes take.

    Raises PlimsollError where the configuration does not give the named architecture.
    """
    names = (subject.config_json, subject.auto_class, subject.architecture, subject.dtype)
    model = _skeleton(*names)
    footprint = _footprint(model, subject)
    facts = _facts(model)
    told: dict[str, Any] = {
        "obstacle": obstacle_of(model, subject),
        "remarks": (*unpackable(model, footprint), *unasked_defaults(model, subject)),
    }
    try:
        passes = _passes_of(*names, subject.attention)
        return Prediction(
            footprint=footprint,
            facts=facts,
            cache=passes.cache(),
            activations=passes.activations(subject.quantization, experts_covered=subject.experts_covered),
            followed=passes.part_name,
            **told,
        )
    except NotFollowedError as error:
        return Prediction(footprint=footprint, facts=facts, unpredicted=str(error), **told)


def predict_placement(subject: Subject, device_map: str, memory: Sequence[int]) -> Mapping[str, str | int]:
    """Where the planner puts each part of a variant, on GPUs with so many bytes for it each. Raises PlimsollError as
    `predict_all` does."""
    model = _skeleton(subject.config_json, subject.auto_class, subject.architecture, subject.dtype)
    footprint = _footprint(model, subject)
    return place(model, footprint, device_map, memory, quantized=subject.quantization.is_quantized)


def predict_training(training: Training, subject: Subject, partner: Subject | None = None) -> StepPrediction:
    """What a training step of a variant takes, with a partner whose states cross a bridge into it.

    Raises PlimsollError as `predict_all` does, and where a step cannot be followed, or means nothing.
    """
    bases = [_base(one) for one in (subject, partner) if one is not None]
    try:
        return predict_step(training, *bases)
    except NotFollowedError as error:
        raise PlimsollError(f"a training step of {subject.architecture} could not be followed: {error}") from None


def _base(subject: Subject) -> Base:
    """A model of its own: following a step changes it."""
    model = build_skeleton(json.loads(subject.config_json), subject.auto_class, subject.architecture, subject.dtype)
    weights = _footprint(model, subject).weight_bytes
    return Base(
        model,
        subject.quantization,
        subject.attention,
        weights,
        experts_covered=subject.experts_covered,
        skip=subject.skipped,
    )


def _footprint(model: nn.Module, subject: Subject) -> Footprint:
    return footprint_of(
        model,
        subject.quantization,
        experts_covered=subject.experts_covered,
        dtype=subject.dtype,
        skip=subject.skipped,
    )


@lru_cache(maxsize=_KEPT_MODELS)
def _skeleton(config_json: str, auto_class: str, architecture: str, dtype: str) -> nn.Module:
    return build_skeleton(json.loads(config_json), auto_class, architecture, dtype)


@lru_cache(maxsize=_KEPT_MODELS)
def _passes_of(config_json: str, auto_class: str, architecture: str, dtype: str, attention: str) -> ForwardPasses:
    model = _skeleton(config_json, auto_class, architecture, dtype)
    with left_as_found(model):
        return ForwardPasses(model, attention)


def _facts(model: Any) -> ArchitectureFacts:
    text = model.config.get_text_config()
    figures = {
        name: value if isinstance(value := setting_of(text, attribute), int) else None
        for name, attribute in _ATTRIBUTES.items()
    }
    return ArchitectureFacts(**figures)


_ATTRIBUTES: Final = {
    "hidden_size": "hidden_size",
    "key_value_heads": "num_key_value_heads",
    "context_length": "max_position_embeddings",
    "sliding_window": "sliding_window",
}


def footprint_of(
    model: nn.Module,
    quantization: Quantization,
    *,
    experts_covered: bool = True,
    dtype: str = "",
    skip: Sequence[str] | None = None,
) -> Footprint:
    """The footprint of a model that is on the meta device already. `dtype` is that of what is not packed, empty for the
    quantization's own; `skip` as for `Coverage`."""
    coverage = Coverage(model, experts_covered=experts_covered, skip=skip)
    owners = dict(model.named_modules())
    kept = _FloatDtypes(model, dtype or quantization.compute_dtype)
    published = published_names(model)
    parameters: list[ExpectedParameter] = []
    for name, parameter in model.named_parameters():
        module = owners[name.rpartition(".")[0]]
        reason = coverage.reason(name, module, parameter)
        if not quantization.is_quantized:
            tied = f"; {reason}" if "by a tie" in reason else ""
            reason = f"{quantization} packs nothing{tied}"
        if reason:
            remade = quantization.is_quantized and coverage.packs_weight_of(name.rpartition(".")[0], module)
            expected = _float(name, parameter, kept.of(name, parameter, remade=remade), reason)
        else:
            expected = _quantized(name, logical_shape(module, parameter), quantization)
        parameters.append(replace(expected, published=published[name]) if name in published else expected)
    saved = model.state_dict().keys()
    buffers = [
        _float(name, buffer, kept.of_buffer(name, buffer, is_saved=name in saved), "buffer")
        for name, buffer in model.named_buffers()
    ]
    return Footprint(parameters=tuple(parameters), buffers=tuple(buffers))


class _FloatDtypes:
    """The dtype of what is not packed: the one asked for, unless the architecture holds on to another.

    transformers keeps some modules in float32 to spare them a 16-bit range: `_keep_in_fp32_modules` where float16 is
    asked for, `_keep_in_fp32_modules_strict` also for bfloat16. A module that names a dtype itself keeps that one, but
    for the bias of a layer whose weight is packed: that layer is made anew, of the dtype asked for.
    """

    def __init__(self, model: nn.Module, asked: str) -> None:
        patterns: list[str] = []
        if asked == "float16":
            patterns += getattr(model, "_keep_in_fp32_modules", None) or ()
        if asked in ("float16", "bfloat16"):
            patterns += getattr(model, "_keep_in_fp32_modules_strict", None) or ()
        self._patterns = [re.compile(pattern.replace("*", ".*")) for pattern in patterns]
        self._asked: torch.dtype = getattr(torch, asked)

    def of(self, name: str, parameter: nn.Parameter, *, remade: bool) -> torch.dtype:
        if any(pattern.search(name) for pattern in self._patterns):
            return torch.float32
        return self._asked if remade else parameter.dtype

    def of_buffer(self, name: str, buffer: torch.Tensor, *, is_saved: bool) -> torch.dtype:
        """The rule acts on what is read from a checkpoint: a buffer that is not saved keeps the dtype it is made in."""
        kept = is_saved and any(pattern.search(name) for pattern in self._patterns)
        return torch.float32 if kept else buffer.dtype


def _float(name: str, tensor: torch.Tensor, dtype: torch.dtype, reason: str) -> ExpectedParameter:
    shape = tuple(tensor.shape)
    return ExpectedParameter(
        name=name,
        shape=shape,
        quantized=False,
        data_bytes=math.prod(shape) * dtype.itemsize,
        statistics_bytes=0,
        storage_dtype=str(dtype).removeprefix("torch."),
        reason=reason,
    )


def _quantized(name: str, shape: tuple[int, ...], quantization: Quantization) -> ExpectedParameter:
    form = packed(shape, quantization)
    return ExpectedParameter(
        name=name,
        shape=shape,
        quantized=True,
        data_bytes=form.data_bytes,
        statistics_bytes=form.statistics_bytes,
        storage_dtype=form.storage_dtype,
        reason="",
    )
