"""Reads each parameter of a loaded model in its stored form, from the objects of bitsandbytes or of our packing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from bitsandbytes.nn.modules import Int8Params, Params4bit
from bitsandbytes.nn.parametrize import Bnb4bitParametrization
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from plimsoll.host.server.expert_packing import Int8Parametrization
from plimsoll.host.server.inventory import all_parameters, identity, row_scales


@dataclass(frozen=True, slots=True)
class FourBit:
    """Packed bytes with what unpacks them; `state` is bitsandbytes' QuantState."""

    data: torch.Tensor
    state: Any

    @property
    def bytes(self) -> torch.Tensor:
        """The packed bytes in a row, whatever dtype they are kept in."""
        return self.data.reshape(-1).view(torch.uint8)


@dataclass(frozen=True, slots=True)
class EightBit:
    """int8 rows and the largest magnitude of each."""

    data: torch.Tensor
    scales: torch.Tensor


@dataclass(frozen=True, slots=True)
class Holding:
    """One parameter: all names that it has, the module that holds it, and how it is stored."""

    names: tuple[str, ...]
    module: nn.Module
    parameter: nn.Parameter
    form: FourBit | EightBit | None
    """None for a tensor of floats."""


def holdings(model: nn.Module) -> Iterator[Holding]:
    """Every parameter of a model once, with all of its names."""
    names: dict[tuple[Any, ...], list[str]] = {}
    first: dict[tuple[Any, ...], tuple[nn.Module, nn.Parameter]] = {}
    for name, module, parameter in all_parameters(model):
        key = identity(parameter)
        names.setdefault(key, []).append(name)
        first.setdefault(key, (module, parameter))
    for key, (module, parameter) in first.items():
        yield Holding(tuple(names[key]), module, parameter, _form(module, parameter))


def _form(module: nn.Module, parameter: nn.Parameter) -> FourBit | EightBit | None:
    if isinstance(module, ParametrizationList):
        for step in module:
            if isinstance(step, Bnb4bitParametrization):
                return FourBit(parameter.data, step.quant_state)
            if isinstance(step, Int8Parametrization):
                return EightBit(parameter.data, step.scales)
    if isinstance(parameter, Params4bit) and parameter.quant_state is not None:
        return FourBit(parameter.data, parameter.quant_state)
    if isinstance(parameter, Int8Params) and parameter.dtype == torch.int8:
        scales = row_scales(module, parameter)
        return None if scales is None else EightBit(parameter.data, scales)
    return None
