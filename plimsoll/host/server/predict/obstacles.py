"""Finds what an architecture cannot do though its entry asks for it, and remarks for the plan, before anything is
loaded."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import transformers
from torch import nn
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING
from transformers.utils.quantization_config import QuantizationConfigMixin

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.settings import fault_of_packing
from plimsoll.footprint.prediction import Obstacle, Subject
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.server.predict.bypassed import names_to_skip, packed_all_the_same, unusual_in_int8
from plimsoll.host.server.predict.config import setting_of
from plimsoll.host.server.predict.coverage import build_skeleton, is_packable, owned_parameters

SUPPORTS: Final = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flash_attention_3": "_supports_flash_attn",
    "flash_attention_4": "_supports_flash_attn",
    "flex_attention": "_supports_flex_attn",
}
"""transformers' flags of what a class's own attention can be replaced with; `eager` is every class's own."""


def supported_attention(model: Any) -> tuple[str, ...]:
    """The implementations of attention that a class supports, `eager` first: that one is every class's own."""
    return ("eager", *(name for name, flag in SUPPORTS.items() if getattr(model, flag, False)))


def obstacle_of(model: Any, subject: Subject) -> Obstacle | None:
    """The first thing that keeps this architecture from being run as asked; None where there is none."""
    return (
        _encoder(model)
        or _silent(model)
        or _packed_entry(model, subject.quantization)
        or _bypassed(model, subject)
        or _attention(model, subject.implementation)
    )


def _silent(model: Any) -> Obstacle | None:
    """A class that gives vectors, labels or words for gaps: transformers generates nothing with it."""
    if not hasattr(model, "can_generate") or model.can_generate():
        return None
    return Obstacle(
        have=f"{type(model).__name__}, which generates no text",
        need="a model that continues its prompt: that is what the suite asks of it",
        fix="enter the checkpoint of a model that generates; this one cannot be accepted by the suite",
    )


def _encoder(model: Any) -> Obstacle | None:
    if not getattr(model.config, "is_encoder_decoder", False):
        return None
    return Obstacle(
        have=f"{type(model).__name__}, an encoder with a decoder",
        need="a model that continues its prompt: all that the suite asks goes through a decoder alone",
        fix="enter a decoder-only model; this one cannot be accepted by the suite",
    )


def fault_of_scheme(given: object) -> str:
    """Why the `quantization_config` of a configuration, as JSON or as transformers made it, is no scheme of packing
    that this stack knows; empty where it is."""
    config = given.to_dict() if isinstance(given, QuantizationConfigMixin) else given
    if what := fault_of_packing(config):
        return what
    method = str(dict(config).get("quant_method") or "bitsandbytes") if isinstance(config, Mapping) else ""
    if method == "bitsandbytes" or method in AUTO_QUANTIZATION_CONFIG_MAPPING:
        return ""
    near = difflib.get_close_matches(method, ("bitsandbytes", *AUTO_QUANTIZATION_CONFIG_MAPPING), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"names {method!r}, which is no quant_method of transformers {transformers.__version__}{hint}"


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
    if fault := fault_of_scheme(config):
        return Obstacle(
            have=f"a quantization_config in the entry's config that {fault}",
            need="one that says how the weights are packed, or none",
            fix="correct it, or leave it out where the weights are in floats",
        )
    scheme = scheme_of(config if isinstance(config, Mapping) else config.to_dict())
    if scheme == asked.value:
        return None
    return Obstacle(
        have=f"a quantization_config in the entry's config: weights that are packed already, as {scheme}",
        need=f"weights in floats for {asked}: a checkpoint's own scheme wins over what is asked for",
        fix=other_scheme_fix(scheme),
    )


def _bypassed(model: Any, subject: Subject) -> Obstacle | None:
    if not subject.quantization.is_quantized:
        return None
    found = packed_all_the_same(model, subject.skipped)
    if found:
        readers = ", ".join(sorted(set(found.values())))
        return Obstacle(
            have=f"{readers}, which multiplies with the weight of {_layers(found)} itself: packed, that raises",
            need=f"a model whose layers multiply with their own weights, for {subject.quantization} to pack them",
            fix=_in_floats(model, subject),
        )
    unusual = unusual_in_int8(model, subject.skipped) if subject.quantization is Quantization.INT8 else {}
    if not unusual:
        return None
    givers = ", ".join(sorted({giver for giver, _ in unusual.values()}))
    dimensions = " or ".join(str(count) for count in sorted({count for _, count in unusual.values()}))
    return Obstacle(
        have=f"{givers}, which gives {_layers(unusual)} inputs of {dimensions} dimensions: packed in int8, that raises",
        need="a model whose layers get inputs of two or three dimensions, which bitsandbytes multiplies in int8",
        fix=_in_floats(model, subject),
    )


def _layers(names: Iterable[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[2] for name in names}))


def _in_floats(model: Any, subject: Subject) -> str:
    names = json.dumps([*dict.fromkeys((*(subject.skipped or ()), *names_to_skip(model, subject.quantization)))])
    return f"keep them in floats: load_options.quantization_config.llm_int8_skip_modules = {names} in the variant"


def other_scheme_fix(scheme: str) -> str:
    """The next step for a checkpoint that is packed in another scheme than the one asked for."""
    if scheme in set(Quantization):
        return f"choose the quantization {scheme} for it, or enter the repository with its weights in floats"
    return "enter the repository with its weights in floats, which the suite packs itself: int8, nf4 or nf4-dq"


def _attention(model: Any, asked: str) -> Obstacle | None:
    flag = SUPPORTS.get(asked)
    if flag is None or getattr(model, flag, False):
        return None
    others = [name for name, other in SUPPORTS.items() if name == "sdpa" and getattr(model, other, False)]
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


def unasked_defaults(model: Any, subject: Subject) -> Iterator[str]:
    """Numbers of a configuration that the entry leaves out and that may be null, where null means another model: a key
    that was forgotten in `config_null` would be predicted, and tested, as a model that it is not."""
    config = model.config
    given = json.loads(subject.config_json)
    if not is_dataclass(config):
        return
    known = getattr(config, "attribute_map", {})
    spelt = {known.get(key, key) for key in given}
    count = _parameters(model)
    found = []
    for field in fields(config):
        value = field.default
        if field.name in spelt or "None" not in str(field.type) or type(value) is not int:
            continue
        if setting_of(config, field.name) != value or field.name.endswith("_id"):
            continue
        other = _count_without(subject, given, field.name)
        if other is not None and (other != count or "window" in field.name):
            more = f" ({count - other:+,} parameters)" if other != count else ""
            found.append(f"{field.name} = {value}{more}")
    if found:
        yield (
            f"not in the entry, and so the class's default, where null is another model: {', '.join(found)}; "
            "write it, or name it in config_null"
        )


def _count_without(subject: Subject, given: Mapping[str, Any], name: str) -> int | None:
    """The parameters of the model where one field is null; None where there is no such model."""
    try:
        config = {**given, name: None}
        return _parameters(build_skeleton(config, subject.auto_class, subject.architecture, subject.dtype))
    except Exception:  # noqa: BLE001  a constructor raises anything for a null that it does not expect
        return None


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
