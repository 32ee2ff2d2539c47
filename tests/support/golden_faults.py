"""Faults of a stack, planted in a host: whatever model is loaded after `plant` carries one. Imports no pytest.

Each is done to the object that the real `from_pretrained` returned, by a hook or on a weight, as a wrong kernel, a
wrong constant or a damaged tensor would have it. Expected numbers and the code that asks stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
import transformers
from torch import nn

Fault = Callable[[Any], None]


def plant(name: str) -> None:
    """Let every model that is loaded from now on carry the fault."""
    auto: Any = transformers.AutoModelForCausalLM
    sound = auto.from_pretrained

    def from_pretrained(*arguments: Any, **options: Any) -> Any:
        model, info = sound(*arguments, **options)
        with torch.no_grad():
            FAULTS[name].fault(model)
        return model, info

    auto.from_pretrained = from_pretrained


def plant_one_bit() -> None:
    """Let every model that is loaded from now on have one bit of one weight turned, which no tolerance shows."""
    FAULTS["one bit"] = Planted(_one_bit, ())
    plant("one bit")


def _layers(model: Any) -> Any:
    return model.model.layers


def _attention_scale(model: Any, factor: float) -> None:
    for layer in _layers(model):
        layer.self_attn.scaling *= factor


def _after(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change the first of a module's outputs."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        return change(output) if isinstance(output, torch.Tensor) else (change(output[0]), *output[1:])

    module.register_forward_hook(hook)


def _feed_forward(model: Any, factor: float) -> None:
    _after(_layers(model)[1].mlp, lambda x: x * factor)


def _zero_channel(model: Any) -> None:
    def zero(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., 5] = 0
        return x

    _after(_layers(model)[1], zero)


def _last_projection(model: Any) -> Any:
    """The weight of the projection out of the feed-forward of layer 1, of one expert or of all."""
    mlp = _layers(model)[1].mlp
    return mlp.experts.down_proj if hasattr(mlp, "experts") else mlp.down_proj.weight


def _noise_on_weight(model: Any) -> None:
    weight = _last_projection(model)
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).to(weight)
    weight.add_(0.1 * weight.float().std() * noise)


def _noise_each_pass(model: Any) -> None:
    for layer in _layers(model):
        _after(layer, lambda x: x * (1 + 0.01 * torch.randn_like(x)))


def _fp8_residuals(model: Any) -> None:
    for layer in _layers(model):
        _after(layer, lambda x: x.to(torch.float8_e4m3fn).to(x.dtype))


def _small_logits(model: Any) -> None:
    _after(model.lm_head, lambda x: x * 0.8)


def _swap_words(model: Any) -> None:
    weight = model.model.embed_tokens.weight
    weight[[20, 21]] = weight[[21, 20]]


def _rope(model: Any, factor: float) -> None:
    model.model.rotary_emb.inv_freq *= factor


def _shift_positions(model: Any, *, decoding: bool) -> None:
    def hook(_: nn.Module, arguments: Any, options: dict[str, Any]) -> Any:
        positions = options["position_ids"]
        if not decoding or positions.shape[1] == 1:
            # Whole numbers added to all positions change nothing: rotary embeddings tell distances alone. So a part.
            shifted = positions + (1 if decoding else positions // 2)
            return arguments, {**options, "position_ids": shifted}
        return arguments, options

    model.model.rotary_emb.register_forward_pre_hook(hook, with_kwargs=True)


def _wrap_positions(model: Any, at: int) -> None:
    """A table of so many positions that begins again at its end."""

    def hook(_: nn.Module, arguments: Any, options: dict[str, Any]) -> Any:
        return arguments, {**options, "position_ids": options["position_ids"] % at}

    model.model.rotary_emb.register_forward_pre_hook(hook, with_kwargs=True)


def _tile_not_rescaled(model: Any, at: int) -> None:
    """Attention beyond the first tile of tokens is a little too small."""

    def scaled(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :at], x[:, at:] * 0.98], dim=1)

    for layer in _layers(model):
        _after(layer.self_attn, scaled)


def _lost_tiles(model: Any, size: int) -> None:
    """What is decoded looks at no more than the last two tiles of the cache."""

    def update(self: Any, keys: torch.Tensor, values: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        held = _PUT_INTO_CACHE(self, keys, values, *arguments, **options)
        if keys.shape[2] > 1 or held[0].shape[2] <= 2 * size:
            return held
        gone = (held[0].shape[2] - 2 * size) // size * size
        kept, theirs = held[0].clone(), held[1].clone()
        kept[:, :, :gone], theirs[:, :, :gone] = 0, 0
        return kept, theirs

    transformers.DynamicCache.update = update  # type: ignore[assignment, method-assign]


def _eps(model: Any, value: float) -> None:
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = value


_PUT_INTO_CACHE: Final = transformers.DynamicCache.update


def _change_cache(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change the keys that are put into every cache."""

    def update(self: Any, keys: torch.Tensor, values: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        return _PUT_INTO_CACHE(self, change(keys), values, *arguments, **options)

    transformers.DynamicCache.update = update  # type: ignore[assignment, method-assign]


def _larger_keys(model: Any) -> None:
    _change_cache(lambda keys: keys * 1.1 if keys.shape[2] == 1 else keys)


def _fp8_cache(model: Any) -> None:
    _change_cache(lambda keys: keys.to(torch.float8_e4m3fn).to(keys.dtype))


def _mix_batch(model: Any) -> None:
    """Each text gets a hundredth of the one before it."""
    _after(_layers(model)[1], lambda x: x + 0.01 * x.roll(1, 0))


def _see_padding(model: Any) -> None:
    """Every token may look at the padding."""
    sound = model.model.forward

    def forward(*arguments: Any, attention_mask: Any = None, **options: Any) -> Any:
        # Without any mask the positions would tell what is padding.
        everything = None if attention_mask is None else torch.ones_like(attention_mask)
        return sound(*arguments, attention_mask=everything, **options)

    model.model.forward = forward


def _other_layer(model: Any) -> None:
    layers = _layers(model)
    layers[1].load_state_dict(layers[2].state_dict())


def _gelu(model: Any) -> None:
    for module in model.modules():
        for name in ("act_fn", "activation_fn"):
            if hasattr(module, name):
                setattr(module, name, nn.GELU())


def _window(model: Any, by: int) -> None:
    model.config.sliding_window += by


def _route(model: Any, change: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Any]) -> None:
    for layer in _layers(model):
        layer.mlp.gate.register_forward_hook(lambda _, __, output: change(*output))


def _least_experts(scores: torch.Tensor, shares: torch.Tensor, _: torch.Tensor) -> Any:
    """The two worst experts in place of the two best."""
    return scores, shares, (-scores).topk(shares.shape[-1]).indices


def _unnormalised(scores: torch.Tensor, shares: torch.Tensor, chosen: torch.Tensor) -> Any:
    """The shares of all experts, of which only the best are used."""
    return scores, scores.float().softmax(-1).gather(-1, chosen).to(shares), chosen


def _without_bias(model: Any) -> None:
    for layer in _layers(model):
        layer.self_attn.k_proj.bias.zero_()
        layer.self_attn.v_proj.bias.zero_()


def _absmax_one_off(model: Any) -> None:
    """The statistics of one packed matrix, off by one block."""
    state = _layers(model)[1].mlp.down_proj.weight.quant_state
    state.absmax = state.absmax.roll(1)


def _scales_one_off(model: Any) -> None:
    """The row scales of one matrix in int8, off by one row."""
    weight = _layers(model)[1].mlp.down_proj.weight
    weight.SCB = weight.SCB.roll(1)


def _fp4_codes(model: Any) -> None:
    """Every packed matrix is read with the code book of FP4."""
    from bitsandbytes.functional import get_4bit_type

    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            code = get_4bit_type("fp4", device=state.code.device)  # type: ignore[no-untyped-call]
            state.code, state.quant_type = code, "fp4"


def _one_bit(model: Any) -> None:
    """The last bit of the largest weight of a norm: a part in 256 of one channel."""
    weight = _layers(model)[1].post_attention_layernorm.weight
    bits = weight.view(torch.int16)
    bits[weight.abs().argmax()] ^= 1


@dataclass(frozen=True)
class Planted:
    """A fault, the family that shows it, and the dtypes and schemes in which it must be red."""

    fault: Fault
    red: tuple[str, ...]
    family: str = "llama"
    long: bool = False
    """Whether only a long text shows it."""


_FINE: Final = ("fp32", "fp16")
_ALL: Final = ("fp32", "fp16", "bf16")

FAULTS: Final[dict[str, Planted]] = {
    "attention scale 0.9": Planted(partial(_attention_scale, factor=0.9), _FINE),
    "attention scale 2": Planted(partial(_attention_scale, factor=2), _ALL),
    "feed-forward of layer 1 times 0.9": Planted(partial(_feed_forward, factor=0.9), _FINE),
    "feed-forward of layer 1 times 0.5": Planted(partial(_feed_forward, factor=0.5), _ALL),
    "one channel zeroed": Planted(_zero_channel, _FINE),
    "10 % noise on one down_proj": Planted(_noise_on_weight, _FINE),
    "1 % noise at each pass": Planted(_noise_each_pass, _FINE),
    "residual stream in FP8": Planted(_fp8_residuals, _ALL),
    "logits times 0.8": Planted(_small_logits, _ALL),
    "two rows of the vocabulary swapped": Planted(_swap_words, _ALL),
    "RoPE off by 1 %": Planted(partial(_rope, factor=1.01), _FINE),
    "positions wrong": Planted(partial(_shift_positions, decoding=False), _ALL),
    "positions off by one while decoding": Planted(partial(_shift_positions, decoding=True), _ALL),
    "positions begin again after 64": Planted(partial(_wrap_positions, at=64), _ALL, long=True),
    "attention 2 % too small beyond 128 tokens": Planted(partial(_tile_not_rescaled, at=128), _FINE, long=True),
    "all but two tiles of 64 keys lost while decoding": Planted(partial(_lost_tiles, size=64), _ALL, long=True),
    "eps 1e-2": Planted(partial(_eps, value=1e-2), _FINE),
    "eps 1e-4": Planted(partial(_eps, value=1e-4), ("fp32",)),
    "keys times 1.1 while decoding": Planted(_larger_keys, _FINE),
    "keys kept in FP8": Planted(_fp8_cache, _FINE),
    "texts of a batch mixed": Planted(_mix_batch, _FINE),
    "padding not masked": Planted(_see_padding, _ALL),
    "another layer's weights": Planted(_other_layer, _ALL),
    "GELU for SiLU": Planted(_gelu, _ALL),
    "sliding window one longer": Planted(partial(_window, by=1), _FINE, "mistral"),
    "sliding window one shorter": Planted(partial(_window, by=-1), _FINE, "phi"),
    "wrong experts": Planted(partial(_route, change=_least_experts), _ALL, "mixtral"),
    "experts' shares not normalised": Planted(partial(_route, change=_unnormalised), _ALL, "mixtral"),
    "noise on all experts of one layer": Planted(_noise_on_weight, _FINE, "mixtral"),
    "no bias on keys and values": Planted(_without_bias, _ALL, "qwen"),
    "absmax of one matrix one block off": Planted(_absmax_one_off, ("nf4",)),
    "row scales of one matrix one row off": Planted(_scales_one_off, ("int8",)),
    "FP4 codes for NF4": Planted(_fp4_codes, ("nf4",)),
}
"""By the words of the table in docs/golden-numbers.md."""
