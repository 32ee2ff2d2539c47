"""Faults planted in a model that a host has loaded, as a broken kernel, disk or conversion would leave them.

Runs inside a host, so it imports no pytest. The model is found among the objects of the process: no request hands it
out.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import transformers
from bitsandbytes import functional


def plant(fault: str) -> None:
    """Do one of FAULTS to the loaded model."""
    (model,) = (one for one in gc.get_objects() if isinstance(one, transformers.PreTrainedModel) and _is_whole(one))
    with torch.no_grad():
        FAULTS[fault](model)


def _is_whole(model: Any) -> bool:
    return hasattr(model, "lm_head")


def _layer(model: Any, index: int = 0) -> Any:
    return model.model.layers[index].self_attn.o_proj


def _repack_as_fp4(model: Any) -> None:
    weight = _layer(model).weight
    plain = functional.dequantize_4bit(weight.data, weight.quant_state)
    weight.data, state = functional.quantize_4bit(plain, quant_type="fp4")
    state.quant_type = "nf4"
    weight.quant_state = _layer(model).quant_state = state


def _scale_of_the_neighbour(model: Any) -> None:
    absmax = _layer(model).weight.quant_state.absmax
    absmax[17] = absmax[18]


def _scales_one_block_off(model: Any) -> None:
    state = _layer(model).weight.quant_state
    state.absmax = state.absmax.roll(1)


def _scale_zero(model: Any) -> None:
    _layer(model).weight.quant_state.absmax[17] = 0


def _byte(model: Any) -> None:
    _layer(model).weight.data.view(-1)[1234] ^= 0xFF


def _row_twice(model: Any) -> None:
    data = _layer(model).weight.data
    rows = data.view(_layer(model).out_features, -1)
    rows[5] = rows[6]


def _scale_code_off(model: Any) -> None:
    codes = _layer(model).weight.quant_state.absmax
    codes[17] = codes[17] + 3 if codes[17] < 200 else codes[17] - 3


def _spread_off(model: Any) -> None:
    _layer(model).weight.quant_state.state2.absmax[0] *= 1.01


def _offset_off(model: Any) -> None:
    _layer(model).weight.quant_state.offset *= 1.01


def _weights_of_another_layer(model: Any) -> None:
    one, other = _layer(model), _layer(model, 1)
    one.weight, other.weight = other.weight, one.weight


def _two_tensors_swapped(model: Any) -> None:
    attention = model.model.layers[0].self_attn
    attention.q_proj.weight, attention.o_proj.weight = attention.o_proj.weight, attention.q_proj.weight


def _row_scales_one_off(model: Any) -> None:
    weight = _layer(model).weight
    weight.SCB = weight.SCB.roll(1)


def _scales_over_128(model: Any) -> None:
    _layer(model).weight.SCB *= 127 / 128


def _codes_of_four_bits(model: Any) -> None:
    """Each row's codes in steps of 17, as 15 values would give them."""
    data = _layer(model).weight.data
    data.copy_((data.float() / 17).round().mul(17).clamp(-127, 127).to(torch.int8))


def _norm_off(model: Any) -> None:
    norm = model.model.norm.weight.data
    norm.view(torch.int16)[3] += 1


def _embedding_rows_swapped(model: Any) -> None:
    table = model.model.embed_tokens.weight.data
    table[[7, 8]] = table[[8, 7]]


def _expert_byte(model: Any) -> None:
    experts = model.model.layers[0].mlp.experts
    experts.parametrizations.gate_up_proj.original.data.view(-1).view(torch.uint8)[4321] ^= 0x77


def _experts_swapped(model: Any) -> None:
    data = model.model.layers[0].mlp.experts.parametrizations.down_proj.original.data
    halves = data.view(2, -1)
    halves.copy_(halves.flip(0))


def _kernel_half(model: Any) -> None:
    """The bytes are right; what the layer's forward pass makes of them is not."""
    layer = model.model.layers[0].self_attn.q_proj
    forward = layer.forward
    layer.forward = lambda x: forward(x) * (127 / 128)


def _kernel_drops_a_column(model: Any) -> None:
    layer = model.model.layers[0].self_attn.q_proj
    forward = layer.forward

    def without(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., 0] = 0
        computed: torch.Tensor = forward(x)
        return computed

    layer.forward = without


FAULTS: Final[Mapping[str, Callable[[Any], None]]] = {
    "fp4": _repack_as_fp4,
    "scale-of-the-neighbour": _scale_of_the_neighbour,
    "scales-one-block-off": _scales_one_block_off,
    "scale-zero": _scale_zero,
    "byte": _byte,
    "row-twice": _row_twice,
    "scale-code": _scale_code_off,
    "spread": _spread_off,
    "offset": _offset_off,
    "other-layer": _weights_of_another_layer,
    "swapped": _two_tensors_swapped,
    "row-scales": _row_scales_one_off,
    "over-128": _scales_over_128,
    "four-bit-codes": _codes_of_four_bits,
    "norm": _norm_off,
    "embedding": _embedding_rows_swapped,
    "expert-byte": _expert_byte,
    "experts-swapped": _experts_swapped,
    "kernel-half": _kernel_half,
    "kernel-column": _kernel_drops_a_column,
}
