"""Packs a tensor of fused experts, and unpacks it each time the model reads it.

bitsandbytes packs the weights of linear layers; the experts of a mixture are one 3-D parameter a projection, which
no layer class of its wraps. Its functions pack them all the same, and torch's parametrizations put the unpacking
where the weight is read, so that the model's own code stays as it is.

The price is memory while a layer runs: reading an expert weight unpacks the whole 3-D tensor, and both of a layer's
tensors stay unpacked until its experts are done (for Mixtral-8x22B 4.8 GB, a layer at a time).
"""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes import functional
from bitsandbytes.nn.parametrize import replace_parameter_4bit_prequantized
from torch import nn
from torch.nn.utils import parametrize

from plimsoll.footprint.packing import BLOCK, NESTED_BLOCK


def pack_4bit(
    experts: torch.Tensor, *, quant_type: str, nested: bool, storage: torch.dtype
) -> tuple[torch.Tensor, functional.QuantState]:
    """Pack a tensor of shape (experts, rows, columns) to 4 bit; the same bits as `functional.quantize_4bit` of it all.

    It goes one expert at a time wherever no block straddles two experts, because on a CPU bitsandbytes needs about 16
    bytes a weight while it packs: 26 GB for one tensor of Mixtral-8x22B.
    """
    straddled = experts[0].numel() % BLOCK != 0
    packed, states = zip(
        *(
            functional.quantize_4bit(piece.contiguous(), blocksize=BLOCK, quant_type=quant_type, quant_storage=storage)
            for piece in ([experts] if straddled else experts)
        ),
        strict=True,
    )
    state = functional.QuantState(  # type: ignore[no-untyped-call]
        absmax=torch.cat([piece.absmax for piece in states]),
        shape=experts.shape,
        dtype=experts.dtype,
        blocksize=BLOCK,
        code=states[0].code,
        quant_type=quant_type,
    )
    return torch.cat(packed), _nest(state) if nested else state


def _nest(state: Any) -> functional.QuantState:
    """Quantize the absmax values themselves; over all experts at once, since they share one offset."""
    offset = state.absmax.mean()
    absmax, second = functional.quantize_blockwise(state.absmax - offset, blocksize=NESTED_BLOCK)
    return functional.QuantState(  # type: ignore[no-untyped-call]
        absmax=absmax,
        shape=state.shape,
        dtype=state.dtype,
        blocksize=state.blocksize,
        code=state.code,
        quant_type=state.quant_type,
        offset=offset,
        state2=second,
    )


def pack_int8(experts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pack (experts, rows, columns) as LLM.int8 packs linear weights: int8 of that shape, and a float32 scale a row."""
    packed = torch.empty_like(experts, dtype=torch.int8)
    scales = torch.empty(experts.shape[:-1], dtype=torch.float32, device=experts.device)
    for index, expert in enumerate(experts):
        # LLM.int8 goes through float16, as it does in a linear layer.
        packed[index], scales[index], _ = functional.int8_vectorwise_quant(expert.to(torch.float16).contiguous())
    return packed, scales


class Int8Parametrization(nn.Module):
    """Unpacks an int8 tensor of experts when it is read; `scales` has shape (experts, rows)."""

    scales: torch.Tensor

    def __init__(self, scales: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("scales", scales)
        self.dtype = dtype

    @torch.no_grad()
    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        """The experts in the model's dtype; one at a time, as bitsandbytes unpacks to float32."""
        experts = torch.empty_like(packed, dtype=self.dtype)
        for index, expert in enumerate(packed):
            experts[index] = functional.int8_vectorwise_dequant(expert, self.scales[index])
        return experts


def attach_4bit(module: nn.Module, name: str, state: functional.QuantState) -> None:
    """Make a module's parameter `name`, which holds packed data already, read as the weights it stands for."""
    replace_parameter_4bit_prequantized(module, name, state.as_dict(), state.absmax.device)


def attach_int8(module: nn.Module, name: str, scales: torch.Tensor, dtype: torch.dtype) -> None:
    """As `attach_4bit`, for int8 data and its row scales."""
    first = not parametrize.is_parametrized(module)
    parametrize.register_parametrization(module, name, Int8Parametrization(scales, dtype), unsafe=True)
    if first:
        ReadOnce.attach(module)


class ReadOnce:
    """Keeps a weight unpacked for the length of a forward pass: an experts loop would unpack it for each expert."""

    def __init__(self) -> None:
        self._caches: list[Any] = []

    @classmethod
    def attach(cls, module: nn.Module) -> None:
        """Have a module read each of its weights once in a pass."""
        reads = cls()
        module.register_forward_pre_hook(reads._start)
        module.register_forward_hook(reads._end, always_call=True)

    def _start(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:  # noqa: ARG002  torch's signature
        cache = parametrize.cached()
        cache.__enter__()
        self._caches.append(cache)

    def _end(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG002  torch's signature
        if self._caches:
            self._caches.pop().__exit__(None, None, None)
