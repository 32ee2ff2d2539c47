"""What an architecture cannot do as its entry asks, and what a plan must say of it, known before a byte is loaded."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Final

from torch import nn

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.prediction import Obstacle, Subject
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.server.predict.coverage import is_packable, owned_parameters

_SUPPORTS: Final = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flash_attention_3": "_supports_flash_attn",
    "flash_attention_4": "_supports_flash_attn",
    "flex_attention": "_supports_flex_attn",
}
"""transformers' flags of what a class's own attention can be replaced with; `eager` is every class's own."""


def obstacle_of(model: Any, subject: Subject) -> Obstacle | None:
    """The first thing that keeps this architecture from being run as asked; None where there is none."""
    return _encoder(model) or _packed_entry(model, subject.quantization) or _attention(model, subject.implementation)


def _encoder(model: Any) -> Obstacle | None:
    if not getattr(model.config, "is_encoder_decoder", False):
        return None
    return Obstacle(
        have=f"{type(model).__name__}, an encoder with a decoder",
        need="a model that continues its prompt: all that the suite asks goes through a decoder alone",
        fix="enter a decoder-only model; this one cannot be accepted by the suite",
    )


def scheme_of(config: Mapping[str, Any]) -> str:
    """The name of the scheme that a `quantization_config` describes: one of ours, or its method's own name."""
    method = str(config.get("quant_method", "") or "bitsandbytes")
    if method != "bitsandbytes":
        return method
    if config.get("load_in_8bit"):
        return Quantization.INT8.value
    return f"{config.get('bnb_4bit_quant_type', 'fp4')}{'-dq' if config.get('bnb_4bit_use_double_quant') else ''}"


def _packed_entry(model: Any, asked: Quantization) -> Obstacle | None:
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    scheme = scheme_of(config if isinstance(config, Mapping) else config.to_dict())
    if scheme == asked.value:
        return None
    return Obstacle(
        have=f"a quantization_config in the entry's config: weights that are packed already, as {scheme}",
        need=f"weights in floats for {asked}: a checkpoint's own scheme wins over what is asked for",
        fix=other_scheme_fix(scheme),
    )


def other_scheme_fix(scheme: str) -> str:
    """The next step for a checkpoint that is packed in another scheme than the one asked for."""
    if scheme in set(Quantization):
        return f"choose the quantization {scheme} for it, or enter the repository with its weights in floats"
    return "enter the repository with its weights in floats, which the suite packs itself: int8, nf4 or nf4-dq"


def _attention(model: Any, asked: str) -> Obstacle | None:
    flag = _SUPPORTS.get(asked)
    if flag is None or getattr(model, flag, False):
        return None
    others = [name for name, other in _SUPPORTS.items() if name == "sdpa" and getattr(model, other, False)]
    return Obstacle(
        have=f"{type(model).__name__}, which transformers has no {asked} attention for",
        need=f'a class that supports attention = "{asked}"',
        fix=f'set attention = "{(others or ["eager"])[0]}" in the variant',
    )


def unpackable(model: nn.Module, footprint: Footprint) -> Iterator[str]:
    """What the scheme should pack by architecture, and the software stack has no packed form for."""
    packed = {part.name: part.count for part in footprint.parameters if part.quantized}
    left = {
        name: type(module).__name__
        for name, module, parameter in owned_parameters(model)
        if name in packed and not is_packable(module, parameter)
    }
    if left:
        share = 100 * sum(packed[name] for name in left) / footprint.parameter_count
        kinds = ", ".join(sorted(set(left.values())))
        yield (
            f"the software stack leaves {len(left):,} weights of {kinds} in floats, {share:.0f} % of the parameters, "
            "which this quantization should pack: a load of it is rejected"
        )


def unasked_defaults(model: Any, given: Mapping[str, Any]) -> Iterator[str]:
    """Fields of a configuration that may be null, that the entry leaves out, and that are a number by default: a null
    that was forgotten in `config_null` gives another model."""
    config = model.config
    if not is_dataclass(config):
        return
    known = getattr(config, "attribute_map", {})
    spelt = {known.get(key, key) for key in given}
    found = [
        f"{field.name} = {value!r}"
        for field in fields(config)
        if field.name not in spelt
        and not field.name.endswith(("_token_id", "_id"))
        and _may_be_null(type(config), field.name)
        and isinstance(value := field.default, int | float)
        and not isinstance(value, bool)
        and getattr(config, field.name, None) == value
    ]
    if found:
        yield (
            f"not in the entry, and so the class's defaults though each may be null: {', '.join(found)}; "
            "write them, or name them in config_null"
        )


def _may_be_null(owner: type, name: str) -> bool:
    try:
        hint = typing.get_type_hints(owner).get(name)
    except (NameError, TypeError):
        return False
    return typing.get_origin(hint) in (typing.Union, UnionType) and type(None) in typing.get_args(hint)
