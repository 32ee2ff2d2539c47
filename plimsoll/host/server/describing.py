"""Describes a configuration from its model on the meta device, where every shape is known and no byte is there.

A published config.json holds keys of many programs. An entry gets those that the class reads, and the nulls that mean
something: what is built from the entry must be what is built from the file, or nothing is written.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import fields, is_dataclass
from typing import Any, Final

import transformers
from torch import nn
from transformers import PretrainedConfig
from transformers.models.auto import auto_factory
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.host.describing import Counts, Describe, Description, Shape
from plimsoll.host.server.configuration import without_use
from plimsoll.host.server.predict.bypassed import names_to_skip
from plimsoll.host.server.predict.config import configuration_of, setting_of, settings_of
from plimsoll.host.server.predict.coverage import (
    build_skeleton,
    experts_of,
    is_fused_expert,
    output_head,
    owned_parameters,
)
from plimsoll.host.server.predict.obstacles import fault_of_scheme, scheme_of, supported_attention, unpackable
from plimsoll.host.server.predict.variant import footprint_of
from plimsoll.hub.settings_files import SCHEME, no_schemes

_DTYPE: Final = "bfloat16"
"""Of the model on the meta device: no count depends on it."""
_FIRST_AUTO_CLASSES: Final = (
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForMaskedLM",
)
_LAST_AUTO_CLASS: Final = "AutoModel"
_BOOKKEEPING: Final = frozenset(
    {
        "_commit_hash",
        "_name_or_path",
        "architectures",
        "attn_implementation",
        "auto_map",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Keys that say where a file comes from and how it was used, and nothing of the model."""
_CORRECT: Final = "correct that in config.json, or take the one that the weights were saved with"
_ALWAYS_SAID: Final = ("model_type", SCHEME)
"""Keys that an entry says whether or not the class has them: it tells weights that are packed already from others."""
_OF_THE_MODEL: Final = frozenset({"bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"})
"""Keys of every configuration that say something of the model all the same."""
_PER_TOKEN: Final = ("num_experts_per_tok", "moe_k", "moe_top_k", "top_k_experts", "num_experts_per_token")
"""What configurations call the number of experts that a token is sent to."""


def describe(request: Describe) -> Description:
    """What the configuration gives.

    Raises PlimsollError where this transformers has no such type or class, where its class refuses the values, and
    where an entry cannot say what the file says.
    """
    raw = without_use(_with_numbers(json.loads(request.config_json)))
    _refuse_no_numbers(raw)
    file_config = _file_configuration(raw)
    named = request.architecture or _named_architecture(raw)
    architecture = named or _usual_architecture(raw, file_config)
    auto_class = request.auto_class or _auto_class(type(file_config), architecture)
    model_class: type = getattr(transformers, architecture, type(file_config))
    config, nulls = _entry_config(raw, file_config, _sources(type(file_config), model_class))
    whole = {**config, **dict.fromkeys(nulls)}
    model: Any = _built(whole, auto_class, architecture)
    if type(model).__name__ != architecture:
        auto_class = architecture
        model = _built(whole, auto_class, architecture)
    text = model.config.get_text_config()
    shape = _shape(model, text)
    if shape.layers is not None and shape.layers < 1:
        raise PlimsollError(
            f"the configuration says {shape.layers} for num_hidden_layers, and {architecture} without a layer is no "
            "model: correct that in config.json, or take the one that the weights were saved with"
        )
    return Description(
        transformers=transformers.__version__,
        model_type=str(raw["model_type"]),
        architecture=architecture,
        auto_class=auto_class,
        named=bool(named),
        counts=_counts(model, text),
        tied=_is_tied(model),
        shape=shape,
        rope=_plain(getattr(text, "rope_parameters", None) or {}),
        attention=supported_attention(model),
        generates=_can_generate(model),
        encoder_decoder=bool(getattr(model.config, "is_encoder_decoder", False)),
        dtype=_saved_dtype(raw),
        scheme=_scheme(raw),
        generation_fault=_fault_of_generation(json.loads(request.generation_json)),
        not_packed=_not_packed(model),
        skipped={str(each): names for each in Quantization if (names := names_to_skip(model, each))},
        config=config,
        config_null=nulls,
    )


def _file_configuration(raw: Mapping[str, Any]) -> Any:
    """The configuration that transformers makes of the file. Raises PlimsollError where it makes none."""
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise PlimsollError("the configuration has no model_type, so no class of transformers is meant by it")
    if model_type not in CONFIG_MAPPING:
        own = "auto_map" in raw
        brings = "; the repository brings code of its own for it (auto_map), which is not run" if own else ""
        raise PlimsollError(f"transformers {transformers.__version__} has no model type {model_type!r}{brings}")
    if (scheme := next(no_schemes(raw), None)) is not None:
        raise PlimsollError(
            f"the configuration says {json.dumps(scheme[1]):.60} for {SCHEME}, and a table of settings is expected: "
            "take it out of config.json where the weights are in floats, else take the file that they were saved with"
        )
    arguments = {key: value for key, value in raw.items() if key not in _BOOKKEEPING | {"model_type"}}
    try:
        config = transformers.AutoConfig.for_model(model_type, **arguments)
        config.to_dict()  # some values are not looked at before
    except Exception as error:  # a configuration's constructor raises anything for a value that it does not expect
        # In one line, and with its class: a KeyError says a name alone.
        text = " ".join(str(error).split())[:400]
        raise PlimsollError(
            f"transformers {transformers.__version__} cannot read the configuration: {type(error).__name__}: {text}; "
            f"{_CORRECT}"
        ) from error
    return config


def _named_architecture(raw: Mapping[str, Any]) -> str:
    names = raw.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _usual_architecture(raw: Mapping[str, Any], config: Any) -> str:
    """The class that transformers takes for a configuration that names none."""
    for name in (*_FIRST_AUTO_CLASSES, _LAST_AUTO_CLASS):
        if classes := _classes(name, type(config)):
            return classes[0]
    raise PlimsollError(
        f"the configuration names no architecture, and transformers {transformers.__version__} has no model for "
        f"model_type {raw['model_type']!r}: add architectures to it"
    )


def _auto_class(config_class: type, architecture: str) -> str:
    """The automatic class that gives an architecture; the architecture itself where none does. Raises PlimsollError
    where transformers does not have it."""
    for name in _auto_classes():
        if architecture in _classes(name, config_class):
            return name
    if not hasattr(transformers, architecture):
        raise PlimsollError(
            f"transformers {transformers.__version__} has no class {architecture}: name one that it has under "
            "architectures in config.json, or install a release that has this one"
        )
    return architecture


def _auto_classes() -> Iterator[str]:
    """Their names, the usual ones first: to list all that transformers has takes as long as to build a model."""
    yield from _FIRST_AUTO_CLASSES
    yield from sorted(name for name in dir(transformers) if name.startswith("AutoModelFor"))
    yield _LAST_AUTO_CLASS


def _classes(auto_class: str, config_class: type) -> list[str]:
    """The names of the models that an automatic class has for a configuration."""
    builder: Any = getattr(transformers, auto_class, None)
    mapping: Any = getattr(builder, "_model_mapping", None)
    # The mapping imports what it is asked for, and nothing else.
    if not isinstance(mapping, auto_factory._LazyAutoMapping) or config_class not in mapping:  # noqa: SLF001
        return []
    found: Any = mapping[config_class]
    return [one.__name__ for one in (found if isinstance(found, (list, tuple)) else [found])]


def _built(config: Mapping[str, Any], auto_class: str, architecture: str) -> nn.Module:
    """The model: an automatic class that has several for a configuration takes the first, whatever is wanted. Raises
    PlimsollError where it cannot be built."""
    try:
        configuration = configuration_of(config, architecture)
        names = _classes(auto_class, type(configuration))
        return build_skeleton(config, auto_class, names[0] if names else architecture, _DTYPE)
    except PlimsollError as error:
        # What its constructor raised is at fault in the file; a package that is missing is not.
        if error.__cause__ is None or isinstance(error.__cause__, ImportError):
            raise
        raise PlimsollError(f"{error}; {_CORRECT}") from error
    except Exception as error:  # a model's constructor raises anything for sizes that do not go together
        text = " ".join(str(error).split()) or "no reason given"
        step = "" if isinstance(error, ImportError) else f"; {_CORRECT}"
        raise PlimsollError(
            f"transformers {transformers.__version__} cannot build {architecture} from the configuration: "
            f"{type(error).__name__}: {text}{step}"
        ) from error


def _entry_config(raw: Mapping[str, Any], file_config: Any, sources: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The keys that an entry must say, and those that it must say are null. `sources` is the code that reads them.

    Infinities are left to the class, as evidence cannot hold them: those of Mamba-2 are its default. Raises
    PlimsollError where an entry cannot say what the file does, which is so for an infinity, and for a null inside of a
    table or a list, that is not the default there.
    """
    meant = _comparable(file_config)
    kept = {key: value for key, value in raw.items() if key not in _BOOKKEEPING}
    for key in [key for key in kept if key not in _ALWAYS_SAID]:
        unread = not _is_field(file_config, key) and re.search(rf"\b{re.escape(key)}\b", sources) is None
        shorter = {name: value for name, value in kept.items() if name != key}
        idle = kept[key] is None or key in _of_all_kinds()
        if (unread or idle) and not _differing(shorter, meant, {key} if unread else set()):
            kept = shorter
    apart = raw.keys() - kept.keys() - {key for key in raw if _is_field(file_config, key)}
    infinite, kept = tuple(_paths(kept, math.isinf)), _without_infinities(kept)
    if infinite and _differing(kept, meant, apart):
        raise PlimsollError(
            f"an entry cannot say what the configuration does: {', '.join(infinite)} is infinite, which is not the "
            "default there, and an entry holds finite numbers; write a large one into config.json, such as 1e30"
        )
    nulls = tuple(key for key, value in kept.items() if value is None)
    config = {key: _without_nulls(value) for key, value in kept.items() if value is not None}
    short = {key: _without(value, _BOOKKEEPING | _of_all_kinds()) for key, value in config.items()}
    whole = dict.fromkeys(nulls)
    if not _differing({**short, **whole}, meant, apart):
        config = short
    if differing := _differing({**config, **whole}, meant, apart):
        raise PlimsollError(
            f"an entry cannot say what the configuration does: TOML has no null, and a null inside of "
            f"{', '.join(sorted(differing))} is not the default there"
        )
    return config, nulls


def _of_all_kinds() -> frozenset[str]:
    """The keys that every configuration has, and that say nothing of the model."""
    shared = {field.name for field in fields(PretrainedConfig)} if is_dataclass(PretrainedConfig) else set()
    return frozenset(shared - _OF_THE_MODEL)


def _differing(arguments: Mapping[str, Any], meant: Mapping[str, Any], apart: Set[str]) -> set[str]:
    """The keys in which these arguments give another configuration than is meant, but for some keys."""
    given = dict(arguments)
    try:
        config = transformers.AutoConfig.for_model(given.pop("model_type"), **given)
    except Exception:  # noqa: BLE001  a constructor raises anything for a value that it misses
        return set(meant)
    found = _comparable(config)
    keys = (found.keys() | meant.keys()) - apart
    return {key for key in keys if found.get(key) != meant.get(key)}


def _is_field(config: Any, key: str) -> bool:
    name = getattr(config, "attribute_map", {}).get(key, key)
    return is_dataclass(config) and name in {field.name for field in fields(config)}


def _sources(*kinds: type) -> str:
    """The source of the modules that define some classes: what it does not name, nothing there reads."""
    return "\n".join(inspect.getsource(sys.modules[kind.__module__]) for kind in kinds)


def _comparable(config: Any) -> dict[str, Any]:
    """A configuration as data. What makes it of a file, and how it was used, is not in it; nulls of a scheme are what
    the scheme takes without them."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=str))
    if SCHEME in plain:
        plain[SCHEME] = _without_nulls(plain[SCHEME])
    return {key: value for key, value in plain.items() if key not in _BOOKKEEPING}


def _without(value: Any, names: Set[str]) -> Any:
    """A table without some keys and without empty texts, tables in it too; anything else as it is."""
    if not isinstance(value, dict):
        return value
    return {key: _without(part, names) for key, part in value.items() if key not in names and part != ""}


def _with_numbers(value: Any) -> Any:
    """As transformers wrote it: infinities are tables in its files, for JSON has none."""
    if isinstance(value, dict):
        if value.keys() == {"__float__"}:
            return float(str(value["__float__"]))
        return {key: _with_numbers(part) for key, part in value.items()}
    return [_with_numbers(part) for part in value] if isinstance(value, list) else value


def _refuse_no_numbers(raw: Mapping[str, Any]) -> None:
    """Raise PlimsollError for a value that is no number: it equals nothing, so no entry could be held against it."""
    if paths := tuple(_paths(raw, math.isnan)):
        raise PlimsollError(
            f"the configuration has NaN, which is no number, for {', '.join(paths)}; write the number that is meant "
            "into config.json, or take the one that the weights were saved with"
        )


def _paths(value: Any, is_meant: Callable[[float], bool], path: str = "") -> Iterator[str]:
    """Where numbers of a kind are, in tables and lists too."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _paths(part, is_meant, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _paths(part, is_meant, f"{path}[{place}]")
    elif isinstance(value, float) and is_meant(value):
        yield path


def _without_infinities(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table without the keys whose value is infinite or a list with such a number, in tables inside of it too."""
    return {
        key: _without_infinities(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if isinstance(value, dict) or not any(_paths(value, math.isinf))
    }


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value if part is not None] if isinstance(value, list) else value


def _counts(model: nn.Module, text: Any) -> Counts:
    per_token = _experts_per_token(text)
    total = embedding = experts = idle = 0
    told = True
    for _, module, parameter in owned_parameters(model):
        count = parameter.numel()
        total += count
        if isinstance(module, nn.Embedding):
            embedding += count
        if not is_fused_expert(module, parameter):
            continue
        experts += count
        of = experts_of(module) or (parameter.shape[0] if parameter.dim() > 2 else None)
        if per_token is None or not of:
            told = False
        else:
            idle += count - count * min(per_token, of) // of
    return Counts(total=total, active=total - idle if told else None, embedding=embedding, experts=experts)


def _experts_per_token(text: Any) -> int | None:
    parts = (text, getattr(text, "ffn_config", None))
    found = (setting_of(part, name) for part in parts for name in _PER_TOKEN)
    return next((count for count in found if isinstance(count, int) and count > 0), None)


def _is_tied(model: nn.Module) -> bool:
    head = output_head(model)
    weight = getattr(head, "weight", None)
    if weight is None:
        return False
    return any(module.weight is weight for module in model.modules() if isinstance(module, nn.Embedding))


def _shape(model: nn.Module, text: Any) -> Shape:
    heads, hidden = _whole(text, "num_attention_heads"), _whole(text, "hidden_size")
    head_dim = _whole(text, "head_dim")
    if settings_of(text, "head_dim") == (None,) and heads and hidden and hidden % heads == 0:
        head_dim = hidden // heads
    kinds = getattr(text, "layer_types", None) or []
    windowed = sum("sliding" in str(kind) for kind in kinds)
    window = _whole(text, "sliding_window")
    owners = (module for _, module, parameter in owned_parameters(model) if is_fused_expert(module, parameter))
    return Shape(
        layers=_whole(text, "num_hidden_layers"),
        hidden_size=hidden,
        intermediate_size=_whole(text, "intermediate_size"),
        vocabulary=_whole(text, "vocab_size"),
        heads=heads,
        key_value_heads=_whole(text, "num_key_value_heads"),
        head_dim=head_dim,
        context=_whole(text, "max_position_embeddings"),
        window=window if not kinds or windowed else None,
        window_layers=windowed if kinds else None,
        experts=next((count for count in map(experts_of, owners) if count), None),
        experts_per_token=_experts_per_token(text),
    )


def _whole(text: Any, name: str) -> int | None:
    value = setting_of(text, name)
    return value if type(value) is int else None


def _fault_of_generation(settings: Mapping[str, Any]) -> str:
    """What the class of settings of generation says of those that it does not take; a load would raise it."""
    try:
        transformers.GenerationConfig.from_dict(dict(settings))
    except Exception as error:  # noqa: BLE001  its checks raise what they like
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return ""


def _can_generate(model: Any) -> bool:
    return bool(getattr(model, "can_generate", bool)())


def _saved_dtype(raw: Mapping[str, Any]) -> str | None:
    parts = [raw, *(part for part in raw.values() if isinstance(part, Mapping))]
    found = (part.get(name) for part in parts for name in ("dtype", "torch_dtype"))
    return next((value.removeprefix("torch.") for value in found if isinstance(value, str)), None)


def _scheme(raw: Mapping[str, Any]) -> str:
    config = raw.get(SCHEME)
    if config is None:
        return ""
    if fault := fault_of_scheme(config):
        raise PlimsollError(f"{SCHEME} in config.json {fault}; correct it, or leave it out for weights in floats")
    return scheme_of(config)


def _not_packed(model: nn.Module) -> dict[str, str]:
    return dict(_left_in_floats(model))


def _left_in_floats(model: nn.Module) -> Iterator[tuple[str, str]]:
    for quantization in Quantization:
        if quantization.is_quantized:
            yield from ((quantization.value, why) for why in unpackable(model, footprint_of(model, quantization)))


def _plain(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(dict(value), default=str))
    return found
