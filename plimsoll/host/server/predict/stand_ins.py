"""Stands in, on the meta device, for what is not run there as on real weights: attention in one kernel, experts that
are unpacked, and LLM.int8's linear layers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.nn.utils import parametrize

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.server.expert_packing import ReadOnce
from plimsoll.host.server.predict.coverage import packable_experts
from plimsoll.host.server.predict.trace import Experts, attended, unpacking_experts

_LOOKS: Final = "find_packed_sequence_indices"
"""transformers' function that answers None where each sequence is one text, as all of ours are."""


@contextmanager
def stand_ins() -> Iterator[None]:
    """While it is entered, attention in one kernel is `_Attention`, and transformers does not look at the numbers of
    positions, which have no values here, for several texts in a row."""
    functional: Any = torch.nn.functional
    masking: Any = importlib.import_module("transformers.masking_utils")
    places = [(functional, "scaled_dot_product_attention", _attend), (masking, _LOOKS, lambda *_args, **_kwargs: None)]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in places if hasattr(owner, name)]
    try:
        for owner, name, stand_in in places:
            setattr(owner, name, stand_in)
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None, **_: Any
) -> torch.Tensor:
    result: torch.Tensor = _Attention.apply(query, key, value, attn_mask)  # type: ignore[no-untyped-call]
    return result


class _Attention(torch.autograd.Function):
    """What fused attention keeps: its operands, its result, and a float32 a query and head; a boolean mask as floats.

    On the way back a GPU's kernels sum the gradient of the queries in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        out = attended(query, value)
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        if mask is not None and mask.dtype == torch.bool:
            mask = query.new_empty(mask.shape)
        ctx.save_for_backward(query, key, value, out, sums, mask)
        return out

    @staticmethod
    def backward(ctx: Any, *_gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *_ = ctx.saved_tensors
        summed = torch.empty_like(query, dtype=torch.float32)
        given = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        del summed
        return (*given, None)


def unpack_experts(model: nn.Module, quantization: Quantization) -> None:
    """Have a model unpack its fused experts each time that it reads them, as one does whose experts are packed.

    A frozen weight that was unpacked is kept for the backward pass like any other operand of a product; whether it is,
    and when it is let go, is then for autograd to say, as it is on real weights.
    """
    read_once: set[str] = set()
    for name in packable_experts(model):
        owner, _, own_name = name.rpartition(".")
        module = model.get_submodule(owner)
        experts: torch.Tensor = getattr(module, own_name)
        parametrize.register_parametrization(module, own_name, _Unpacking(quantization, experts), unsafe=True)
        if owner not in read_once:
            ReadOnce.attach(module)
        read_once.add(owner)


class _Unpacking(nn.Module):
    """Makes what unpacking makes, with no values."""

    def __init__(self, quantization: Quantization, experts: torch.Tensor) -> None:
        super().__init__()
        count = experts.numel()
        self._beside = unpacking_experts(Experts(count, count, count // experts.shape[0]), quantization)

    @torch.no_grad()
    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        beside = packed.new_empty(self._beside, dtype=torch.uint8)
        unpacked = torch.empty_like(packed)
        del beside
        return unpacked


def keep_inputs(layers: Iterable[nn.Module]) -> None:
    """Have linear layers that LLM.int8 packs keep what enters them until the graph is gone.

    bitsandbytes 0.50 hangs the input on the context of its product (`MatMul8bitLt`), where neither the backward pass
    lets it go nor recomputing layers keeps it away; nothing reads it there.
    """
    for layer in layers:
        layer.forward = _keeping(layer.forward)


def _keeping(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def kept(entered: torch.Tensor) -> torch.Tensor:
        left: torch.Tensor = _Kept.apply(forward(entered), entered.detach())  # type: ignore[no-untyped-call]
        return left

    return kept


class _Kept(torch.autograd.Function):
    """Hands on a result, and keeps what it was made from where bitsandbytes does."""

    @staticmethod
    def forward(ctx: Any, left: torch.Tensor, entered: torch.Tensor) -> torch.Tensor:
        if left.requires_grad:
            ctx.entered = entered
        return left.view_as(left)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ARG004  torch's
        return (*gradients, None)
