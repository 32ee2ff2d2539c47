"""Takes the inventory of a loaded model: every parameter and buffer once, with its real bytes.

Flags, footprints and one checked layer all lie about quantization, so nothing here asks the model whether it is
quantized. It must be taken before the first forward pass, which moves int8's scales elsewhere and, on some CPUs,
repacks 4-bit weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from bitsandbytes.nn.parametrize import Bnb4bitParametrization
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from plimsoll.host.protocol import Inventory, ParameterRecord
from plimsoll.host.server.expert_packing import Int8Parametrization

_PARAMETRIZATIONS = ".parametrizations."


def take_inventory(model: nn.Module) -> Inventory:
    """Every parameter and buffer of a model. A tied parameter is listed under its first name, and faults found under
    its other names are added there with the name."""
    counted = _Counted()
    records: dict[tuple[Any, ...], ParameterRecord] = {}
    for name, module, parameter in all_parameters(model):
        key = identity(parameter)
        if key in records:
            faults = tuple(f"as {name}: {fault}" for fault in _packing_faults(module, parameter))
            records[key] = replace(records[key], faults=(*records[key].faults, *faults))
        else:
            records[key] = _record(name, module, parameter, counted)
    buffers = (
        _plain(name, buffer, ()) for name, buffer in model.named_buffers() if _PARAMETRIZATIONS not in f".{name}"
    )
    return Inventory(parameters=tuple(records.values()), buffers=tuple(buffers))


class _Counted:
    """Bytes of statistics, where tensors that share their storage count once in a whole model."""

    def __init__(self) -> None:
        self._seen: set[tuple[torch.device, int]] = set()

    def bytes(self, *tensors: torch.Tensor | None) -> int:
        total = 0
        for tensor in tensors:
            if tensor is None or tensor.is_meta:
                continue
            storage = (tensor.device, tensor.untyped_storage().data_ptr())
            if storage not in self._seen:
                self._seen.add(storage)
                total += tensor.nbytes
        return total


def all_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Every parameter under every name it has; a parametrized one under the name that it had before."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        for own_name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            name = f"{prefix}.{own_name}" if prefix else own_name
            if isinstance(module, ParametrizationList):
                name = f".{name}".replace(_PARAMETRIZATIONS, ".").removesuffix(".original").removeprefix(".")
            yield name, module, parameter


def identity(parameter: nn.Parameter) -> tuple[Any, ...]:
    """Equal for two parameters that are one in memory, whether or not they are one object."""
    if parameter.is_meta or parameter.numel() == 0:
        return (id(parameter),)
    return (parameter.device, parameter.data_ptr(), parameter.nbytes)


def _record(name: str, module: nn.Module, parameter: nn.Parameter, counted: _Counted) -> ParameterRecord:
    if isinstance(module, ParametrizationList):
        return _parametrized(name, module, parameter, counted)
    if isinstance(parameter, Params4bit) and parameter.quant_state is not None:
        record = _four_bit(name, parameter, parameter.quant_state, _packing_faults(module, parameter), counted)
        asked = getattr(module, "compute_dtype", None)
        return replace(record, compute_dtype=None if asked is None else str(asked).removeprefix("torch."))
    if isinstance(parameter, Int8Params) and parameter.dtype == torch.int8:
        return _eight_bit(name, parameter, row_scales(module, parameter), _packing_faults(module, parameter), counted)
    return _plain(name, parameter, _packing_faults(module, parameter))


def _parametrized(
    name: str, module: ParametrizationList, parameter: nn.Parameter, counted: _Counted
) -> ParameterRecord:
    for step in module:
        if isinstance(step, Bnb4bitParametrization):
            return _four_bit(name, parameter, step.quant_state, (), counted)
        if isinstance(step, Int8Parametrization):
            return _eight_bit(name, parameter, step.scales, (), counted)
    return _plain(name, parameter, ())


def _plain(name: str, tensor: torch.Tensor, faults: tuple[str, ...]) -> ParameterRecord:
    """A tensor as it lies; data in uint8 or int8 that nothing can unpack has no scheme."""
    bare = isinstance(tensor, nn.Parameter) and not tensor.is_floating_point()
    if bare and not faults:
        faults = (f"stored as {_dtype(tensor)} with nothing that says how to unpack it",)
    if tensor.is_meta:
        faults = (*faults, "still on the meta device: it was never loaded")
    return ParameterRecord(
        name=name,
        shape=tuple(tensor.shape),
        data_bytes=tensor.nbytes,
        statistics_bytes=0,
        storage_dtype=_dtype(tensor),
        scheme="unknown" if bare else "float",
        device=str(tensor.device),
        faults=faults,
    )


def _four_bit(
    name: str, parameter: nn.Parameter, state: Any, faults: tuple[str, ...], counted: _Counted
) -> ParameterRecord:
    shape = tuple(state.shape or ())
    nested = state.state2 if state.nested else None
    statistics = (state.absmax, state.code, state.offset if nested else None)
    second = (nested.absmax, nested.code) if nested else ()
    return ParameterRecord(
        name=name,
        shape=shape,
        data_bytes=parameter.nbytes,
        statistics_bytes=counted.bytes(*statistics, *second),
        storage_dtype=_dtype(parameter),
        scheme=f"{state.quant_type}{'-dq' if nested else ''}",
        device=str(parameter.device),
        block_size=state.blocksize,
        faults=(*faults, *_state_faults(shape, parameter, state)),
    )


def _state_faults(shape: tuple[int, ...], parameter: nn.Parameter, state: Any) -> Iterator[str]:
    if getattr(state, "packing_format_for_cpu", False):
        yield "repacked by a forward pass on this CPU: the inventory was taken too late"
        return
    count = math.prod(shape)
    if parameter.nbytes != math.ceil(count / 2):
        yield f"{parameter.nbytes:,} packed bytes cannot hold {count:,} weights of 4 bit"
    if state.absmax.numel() != math.ceil(count / state.blocksize):
        yield f"{state.absmax.numel():,} absmax values for {count:,} weights in blocks of {state.blocksize}"


def _eight_bit(
    name: str, parameter: nn.Parameter, scales: torch.Tensor | None, faults: tuple[str, ...], counted: _Counted
) -> ParameterRecord:
    rows = math.prod(parameter.shape[:-1])
    if scales is None:
        faults = (*faults, "int8 data without its row scales (SCB): nothing can unpack it")
    elif scales.numel() != rows:
        faults = (*faults, f"{scales.numel():,} scales for {rows:,} rows")
    return ParameterRecord(
        name=name,
        shape=tuple(parameter.shape),
        data_bytes=parameter.nbytes,
        statistics_bytes=counted.bytes(scales),
        storage_dtype=_dtype(parameter),
        scheme="unknown" if scales is None else "int8",
        device=str(parameter.device),
        faults=faults,
    )


def row_scales(module: nn.Module, parameter: Int8Params) -> torch.Tensor | None:
    """int8's row scales: on the weight until the first forward pass, in the layer's state after it."""
    scales = parameter.SCB if parameter.SCB is not None else getattr(getattr(module, "state", None), "SCB", None)
    return scales if isinstance(scales, torch.Tensor) else None


def _packing_faults(module: nn.Module, parameter: nn.Parameter) -> tuple[str, ...]:
    """What is wrong between a layer of a packed class and the weight it holds."""
    if not isinstance(module, Linear4bit | Linear8bitLt) or parameter is not module.weight:
        return ()
    kind = type(module).__name__
    if parameter.is_floating_point():
        return (f"packed by name ({kind}), but holds plain {_dtype(parameter)}",)
    state = parameter.quant_state if isinstance(parameter, Params4bit) else None
    if isinstance(module, Linear4bit) and state is None:
        return (f"{kind} without a quant_state: nothing can unpack its {_dtype(parameter)} data",)
    shape = tuple(parameter.shape if state is None else state.shape)
    if shape != (module.out_features, module.in_features):
        return (f"holds a weight of shape {shape}, and the layer is {(module.out_features, module.in_features)}",)
    return ()


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
