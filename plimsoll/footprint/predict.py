"""What a variant should store, predicted from its configuration before a byte is loaded.

Gates, plans and the judgement of a loaded model rest on it, and it must not be wrong by a byte: the tests hold it
against the inventory of really loaded models, in every quantization.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.footprint import ExpectedParameter, Footprint
from plimsoll.footprint.packing import packed
from plimsoll.footprint.predict_coverage import Coverage, build_skeleton, logical_shape


def predict(
    config: Mapping[str, Any],
    auto_class: str,
    architecture: str,
    quantization: Quantization,
    *,
    experts_covered: bool = True,
) -> Footprint:
    """Every parameter and buffer of a model with the bytes it should take, tied ones once.

    `config` holds the configuration's keyword arguments with `model_type`. `experts_covered=False` predicts what
    transformers and bitsandbytes come to by themselves, which leave fused experts in 16 bit. Raises PlimsollError
    where the configuration does not give the named architecture.
    """
    model = build_skeleton(config, auto_class, architecture, quantization.compute_dtype)
    return footprint_of(model, quantization, experts_covered=experts_covered)


def footprint_of(model: nn.Module, quantization: Quantization, *, experts_covered: bool = True) -> Footprint:
    """The footprint of a model that is on the meta device already."""
    coverage = Coverage(model, experts_covered=experts_covered)
    owners = dict(model.named_modules())
    kept = _FloatDtypes(model, quantization)
    parameters = []
    for name, parameter in model.named_parameters():
        module = owners[name.rpartition(".")[0]]
        reason = (
            coverage.reason(name, module, parameter) if quantization.is_quantized else f"{quantization} packs nothing"
        )
        if reason:
            parameters.append(_float(name, parameter, kept.of(name, parameter), reason))
        else:
            parameters.append(_quantized(name, logical_shape(module, parameter), quantization))
    buffers = [_float(name, buffer, buffer.dtype, "buffer") for name, buffer in model.named_buffers()]
    return Footprint(parameters=tuple(parameters), buffers=tuple(buffers))


class _FloatDtypes:
    """The dtype of what is not packed: the one asked for, unless the architecture holds on to another.

    transformers keeps some modules in float32 to spare them a 16-bit range: `_keep_in_fp32_modules` where float16 is
    asked for, `_keep_in_fp32_modules_strict` also for bfloat16. A module that names a dtype itself keeps that one.
    """

    def __init__(self, model: nn.Module, quantization: Quantization) -> None:
        patterns: list[str] = []
        if quantization.compute_dtype == "float16":
            patterns += getattr(model, "_keep_in_fp32_modules", None) or ()
        if quantization.compute_dtype in ("float16", "bfloat16"):
            patterns += getattr(model, "_keep_in_fp32_modules_strict", None) or ()
        self._patterns = [re.compile(pattern.replace("*", ".*")) for pattern in patterns]

    def of(self, name: str, parameter: nn.Parameter) -> torch.dtype:
        return torch.float32 if any(pattern.search(name) for pattern in self._patterns) else parameter.dtype


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
