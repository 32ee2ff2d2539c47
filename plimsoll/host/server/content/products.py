"""Tests whether packed layers compute what their unpacked weights do, with one layer of each class, shape and scheme.

The bytes may be right and the kernel that reads them wrong. Inputs are whole numbers over 32 that no dtype of
the stack rounds, and that int8 packs without loss, so that what is left of a difference is the rounding of outputs and
of unpacked weights. Several rows at once and one alone take different kernels.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from torch import nn
from torch.nn.utils import parametrize

from plimsoll.host.protocol import ProductError
from plimsoll.host.server.content.arithmetic import LARGEST_CODE, NF4, dynamic_table, nibbles
from plimsoll.host.server.content.packed import EightBit, FourBit, Holding, holdings

_ROWS: Final = 16
"""Inputs at once."""
_OUTPUTS: Final = 1024
"""Outputs of a layer that are worked out beside it: the first and the last ones."""
_LARGEST: Final = 127
_STEPS: Final = 32
"""Inputs are whole numbers up to 127 over 32, so below the 6 from which LLM.int8 holds a column back."""
_HELD_BACK: Final = 8.0
"""Put into one column, it makes LLM.int8 keep that in 16 bit."""
_EXPERTS_AT_ONCE: Final = 2**28
"""Weights of one layer's experts up to which they are run beside a second, unpacked copy."""


def try_products(model: nn.Module) -> Iterator[ProductError]:
    """Run the first layer of each kind."""
    kinds: dict[tuple[Any, ...], list[tuple[nn.Module, Holding]]] = {}
    for holding in holdings(model):
        if holding.form is None:
            continue
        module = _owner(model, holding)
        shape = tuple(holding.parameter.shape if isinstance(holding.form, EightBit) else holding.form.state.shape)
        bias = getattr(module, "bias", None) is not None
        kinds.setdefault((type(module).__name__, shape, _scheme(holding), bias), []).append((module, holding))
    for (name, shape, scheme, _), members in kinds.items():
        module, holding = members[0]
        kind = f"{name.removeprefix('Parametrized')} {' x '.join(map(str, shape))} {scheme}"
        yield _tried(module, holding, kind, len(members))


def _scheme(holding: Holding) -> str:
    form = holding.form
    return f"{form.state.quant_type}{'-dq' if form.state.nested else ''}" if isinstance(form, FourBit) else "int8"


def _owner(model: nn.Module, holding: Holding) -> nn.Module:
    return model.get_submodule(holding.names[0].rpartition(".")[0])


def _tried(module: nn.Module, holding: Holding, kind: str, layers: int) -> ProductError:
    error: float | None = None
    scale: float | None = None
    fault = ""
    try:
        run = _linear if isinstance(module, Linear4bit | Linear8bitLt) else _experts
        pairs = list(run(module, holding))
        error, scale = max((_compared(found, expected) for found, expected in pairs), key=_badness)
    except Exception as failure:  # noqa: BLE001  kernels raise anything, and what cannot compute is a finding
        fault = f"{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"
    return ProductError(name=holding.names[0], kind=kind, layers=layers, error=error, scale=scale, fault=fault)


def _badness(pair: tuple[float, float]) -> float:
    error, scale = pair
    return math.inf if math.isnan(error) or math.isnan(scale) else error + abs(scale - 1)


def _compared(found: torch.Tensor, expected: torch.Tensor) -> tuple[float, float]:
    """The relative error, and the factor between the two."""
    found, expected = found.double().cpu().reshape(-1), expected.double().cpu().reshape(-1)
    power = float(expected @ expected)
    if not power:
        return (0.0 if not bool(found.any()) else math.inf), 1.0
    return math.sqrt(float((found - expected) @ (found - expected)) / power), float(found @ expected) / power


def _linear(module: Any, holding: Holding) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    weight = holding.parameter
    width, height = module.in_features, module.out_features
    rows = _chosen(height)
    # Before the layer runs: its first pass may move or repack what it holds.
    unpacked = torch.cat([unpack(holding, start, stop, width) for start, stop in rows])
    bias = None if module.bias is None else module.bias.detach().float().cpu()
    dtype = torch.float16 if weight.dtype == torch.int8 else module.compute_dtype or torch.bfloat16
    for inputs in _inputs(width):
        outputs = module(inputs.to(weight.device, dtype)).float().cpu().reshape(len(inputs), height)
        found = torch.cat([outputs[:, start:stop] for start, stop in rows], dim=1)
        expected = inputs @ unpacked.T
        if bias is not None:
            expected += torch.cat([bias[start:stop] for start, stop in rows])
        yield found, expected


def _chosen(height: int) -> list[tuple[int, int]]:
    """Outputs that are worked out: all, or as many from either end."""
    if height <= _OUTPUTS:
        return [(0, height)]
    return [(0, _OUTPUTS // 2), (height - _OUTPUTS // 2, height)]


def _inputs(width: int) -> Iterator[torch.Tensor]:
    chance = torch.Generator().manual_seed(width)
    steps = torch.randint(-_LARGEST, _LARGEST + 1, (_ROWS, width), generator=chance).float()
    # Every row reaches the largest step, so that packing it to int8 loses nothing.
    steps[torch.arange(_ROWS), torch.randint(0, width, (_ROWS,), generator=chance)] = _LARGEST
    inputs = steps / _STEPS
    yield inputs
    yield inputs[:1]
    if width > 1:
        held = inputs.clone()
        column = int(torch.randint(0, width, (1,), generator=chance))
        held[:, column] = _HELD_BACK
        held[:, (column + 1) % width] = _LARGEST / _STEPS
        yield held


def unpack(holding: Holding, start: int, stop: int, width: int) -> torch.Tensor:
    """Some rows of a packed weight in float32, on the CPU. A row may begin within a block."""
    form: Any = holding.form
    if isinstance(form, EightBit):
        rows: torch.Tensor = form.data.reshape(-1, width)[start:stop].cpu().float()
        return rows * (form.scales.reshape(-1)[start:stop].float().cpu() / LARGEST_CODE)[:, None]
    state, first, last = form.state, start * width, stop * width
    block, end = first // state.blocksize, math.ceil(last / state.blocksize)
    begin = block * state.blocksize
    codes = nibbles(form.bytes[begin // 2 : math.ceil(end * state.blocksize / 2)].cpu(), last - begin)
    scales = _scales(state, block, end).repeat_interleave(state.blocksize)[: last - begin]
    return (NF4[codes] * scales)[first - begin :].view(stop - start, width)


def _scales(state: Any, start: int, stop: int) -> torch.Tensor:
    kept: torch.Tensor = state.absmax[start:stop].cpu()
    if not state.nested:
        return kept.float()
    groups = torch.arange(start, stop) // state.state2.blocksize
    spread: torch.Tensor = state.state2.absmax.float().cpu()[groups]
    offset: torch.Tensor = state.offset.float().cpu()
    return dynamic_table()[kept.long()] * spread + offset


def _experts(module: nn.Module, holding: Holding) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What the module reads, and what it makes of tokens where its forward pass takes what transformers' experts take:
    once as it is, once with our own unpacked weights in the place of what it would unpack."""
    own_name = holding.names[0].rpartition(".")[2]
    read = getattr(module, own_name).detach()
    width = read.shape[-1]
    rows = _chosen(read.numel() // width)
    found = torch.cat([read.reshape(-1, width)[start:stop].float().cpu() for start, stop in rows])
    yield found, torch.cat([unpack(holding, start, stop, width) for start, stop in rows])
    takes = list(inspect.signature(module.forward).parameters)
    if takes != ["hidden_states", "top_k_index", "top_k_weights"] or read.numel() > _EXPERTS_AT_ONCE:
        return
    arguments = _tokens(module, read)
    if arguments is None:
        return
    ours = {}
    for other in holdings(module):
        if other.form is not None:
            name, packed = other.names[0], getattr(module, other.names[0])
            whole = unpack(other, 0, packed.numel() // packed.shape[-1], packed.shape[-1])
            ours[name] = whole.view(packed.shape).to(packed.device, packed.dtype)
    as_it_is = module(*arguments)
    with parametrize.cached():
        # torch reads a parametrized weight from here first.
        parametrize._cache.update({(id(module), name): weight for name, weight in ours.items()})  # noqa: SLF001
        expected = module(*arguments)
    yield as_it_is, expected


def _tokens(module: Any, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Tokens, the experts that each goes to, and their shares; None where the module does not say how wide a token
    is."""
    width = getattr(module, "hidden_dim", getattr(module, "hidden_size", None))
    if not isinstance(width, int):
        return None
    experts = weight.shape[0]
    hidden = next(_inputs(width)).to(weight.device, weight.dtype) / 4
    index = torch.arange(2 * _ROWS, device=weight.device).view(_ROWS, 2) % experts
    share = torch.full((_ROWS, 2), 0.5, device=weight.device, dtype=weight.dtype)
    return hidden, index, share
