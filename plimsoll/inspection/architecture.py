"""Tells the facts of a model's architecture, as a host described it: class, parameters, attention and cache."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from plimsoll.host.describing import Description
from plimsoll.inspection.facts import SAYS_NOTHING, Fact, count, fact, size, unknown
from plimsoll.inspection.finding import FoundModel
from plimsoll.inspection.model import UNKNOWN
from plimsoll.inspection.weighing import Weighed
from plimsoll.units import counted, format_bytes

_NOT_READ: Final = "no weights were looked at"
_WIDTHS: Final = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""Bytes of an element of the dtypes in which a parameter is an element."""


def class_facts(found: FoundModel, description: Description | None, undescribed: str) -> Iterator[Fact]:
    """The class, who brings it, and what it can do. `undescribed` says why no host described it, here and below."""
    config = found.config
    model_type = config.get("model_type")
    yield (
        fact("model_type", "model_type", model_type)
        if model_type
        else unknown("model_type", "model_type", SAYS_NOTHING)
    )
    named = config.get("architectures")
    if description is not None:
        by = "" if description.named else ", which transformers takes for it: the configuration names none"
        yield fact("architecture", "class", description.architecture, f"{description.architecture}{by}")
        yield fact("auto_class", "loaded by", description.auto_class)
        yield fact("native", "in transformers", True, f"yes, {description.transformers}")
    else:
        name = named[0] if isinstance(named, list) and named else None
        yield fact("architecture", "class", name) if name else unknown("architecture", "class", SAYS_NOTHING)
        yield unknown("native", "in transformers", undescribed)
    yield _remote_code(found, description)
    dtype = _dtype(config)
    yield fact("dtype", "saved in", dtype) if dtype else unknown("dtype", "saved in", SAYS_NOTHING)
    yield _packed(config, description)
    if description is None:
        yield unknown("attention", "attention that it supports", undescribed)
        return
    yield fact("attention", "attention that it supports", list(description.attention), ", ".join(description.attention))
    generates = "an encoder with a decoder" if description.encoder_decoder else "yes" if description.generates else "no"
    yield fact("generates", "generates text", description.generates, generates)


def _remote_code(found: FoundModel, description: Description | None) -> Fact:
    own = found.config.get("auto_map")
    names = sorted({str(value).partition(".")[0] for value in own.values()}) if isinstance(own, Mapping) else []
    if not own:
        return fact("auto_map", "code of its own", [], "none (no auto_map)")
    needed = "" if description is None else "; not needed: transformers has the class, so remote code stays off"
    return fact("auto_map", "code of its own", names, f"{', '.join(names) or 'auto_map'}{needed}")


def _dtype(config: Mapping[str, Any]) -> str | None:
    found = (config.get(name) for name in ("dtype", "torch_dtype"))
    return next((value.removeprefix("torch.") for value in found if isinstance(value, str)), None)


def _packed(config: Mapping[str, Any], description: Description | None) -> Fact:
    given = config.get("quantization_config")
    if not isinstance(given, Mapping):
        return fact("packed", "quantized in the files", False, "no")
    method = description.scheme if description is not None else str(given.get("quant_method", UNKNOWN))
    return fact("packed", "quantized in the files", method, f"yes, as {method}")


def parameter_facts(found: FoundModel, description: Description | None, undescribed: str) -> Iterator[Fact]:
    """The number of parameters: of all, of those that a token uses, and what the files hold."""
    held = _held(found)
    if description is None:
        if held is None:
            yield unknown("total", "all", undescribed)
        else:
            yield fact("total", "all", held, f"{held:,}, by the headers of the weights")
        for key, label in (("active", "active for a token"), ("embedding", "in embeddings"), ("tied", "tied")):
            yield unknown(key, label, undescribed)
        yield _rule(found, None, held)
    else:
        counts = description.counts
        yield fact("total", "all", counts.total, f"{counts.total:,}, exactly: the class on the meta device")
        active = "" if counts.experts else ", all of them: no mixture"
        why = "the configuration does not say how many experts a token is sent to"
        yield count("active", "active for a token", counts.active, why, active)
        if counts.experts:
            yield count("experts", "in experts", counts.experts, "")
        yield count("embedding", "in embeddings", counts.embedding, "")
        tied = "yes, the output head is the embedding" if description.tied else "no"
        yield fact("tied", "tied", description.tied, tied)
        yield _rule(found, description, counts.total)
    yield from _stored(found, description, held)


def _rule(found: FoundModel, description: Description | None, exact: int | None) -> Fact:
    """The rule of thumb that documents use, beside what it misses."""
    key, label = "rough_rule", "rule of thumb"
    shape = None if description is None else description.shape
    names = ("hidden_size", "intermediate_size", "num_hidden_layers")
    told: list[Any] = [found.config.get(name) for name in names]
    if shape is not None:
        told = [shape.hidden_size, shape.intermediate_size, shape.layers]
    parts = [part for part in told if isinstance(part, int) and not isinstance(part, bool) and part > 0]
    if len(parts) < len(names):
        return unknown(key, label, "the configuration lacks hidden_size, intermediate_size or the number of layers")
    rough = 2 * math.prod(parts)
    factor = "" if not exact else f": off by a factor of {max(exact, rough) / min(exact, rough):.2f}"
    words = f"{rough:,} by hidden x intermediate x layers x 2{factor}"
    value = {"parameters": rough, "exact_over_rule": None if not exact else exact / rough}
    return fact(key, label, value, words)


def _held(found: FoundModel) -> int | None:
    """Parameters by the headers; None where they were not all read, or where an element is not a parameter."""
    contents = found.contents
    if contents is None or not contents.weights or contents.headers != len(contents.weights):
        return None
    if any(part.dtype not in _WIDTHS and not part.dtype.startswith("F8") for part in contents.stored):
        return None
    if isinstance(found.config.get("quantization_config"), Mapping):
        return None
    return sum(part.elements for part in contents.stored)


def _stored(found: FoundModel, description: Description | None, held: int | None) -> Iterator[Fact]:
    contents = found.contents
    if contents is None or not contents.headers:
        yield unknown("in_files", "in the files", _NOT_READ)
        return
    value = {
        part.dtype: {"tensors": part.tensors, "elements": part.elements, "bytes": part.bytes}
        for part in contents.stored
    }
    told = ", ".join(
        f"{counted(part.tensors, 'tensor')} in {part.dtype} ({format_bytes(part.bytes)})" for part in contents.stored
    )
    compared = ""
    if held is not None and description is not None:
        more = held - description.counts.total
        compared = "; as many elements as the class has" if not more else f"; {more:+,} elements against the class"
    yield fact("in_files", "in the files", value, f"{told}{compared}")


def attention_facts(
    found: FoundModel, description: Description | None, bf16: Weighed | None, undescribed: str
) -> Iterator[Fact]:
    """Heads, context, positions, and the cache of keys and values, which `bf16` predicts."""
    if description is None:
        for key, label in (
            ("heads", "heads"),
            ("kv_bytes_per_token", "KV cache a token"),
            ("kv_bytes_full", "KV cache at full context"),
            ("context", "context"),
        ):
            yield unknown(key, label, undescribed)
        return
    shape = description.shape
    yield count("layers", "layers", shape.layers, SAYS_NOTHING)
    yield _heads(description)
    yield count("head_dim", "width of a head", shape.head_dim, SAYS_NOTHING)
    yield count("context", "context", shape.context, SAYS_NOTHING, f" tokens{_trained_on(description)}")
    yield _rope(description)
    yield _window(description)
    limit = found.settings("tokenizer_config.json").get("model_max_length")
    if isinstance(limit, int) and 0 < limit < 10**9:
        yield fact("tokenizer_limit", "the tokenizer's limit", limit, f"{limit:,} tokens")
    yield from _cache(description, bf16)


def _heads(description: Description) -> Fact:
    shape = description.shape
    heads, of_keys = shape.heads, shape.key_value_heads
    if heads is None:
        return unknown("heads", "heads", SAYS_NOTHING)
    if of_keys is None:
        value = {"heads": heads, "key_value_heads": None, "grouping": None}
        return fact("heads", "heads", value, f"{heads}; the configuration says no number for keys and values")
    if of_keys == heads:
        grouping = "not grouped: one head of keys and values each"
    elif of_keys == 1:
        grouping = "multi-query: all share one head of keys and values"
    else:
        grouping = f"grouped: {heads / of_keys:g} share one of {of_keys} heads of keys and values"
    name = "none" if of_keys == heads else "multi-query" if of_keys == 1 else "grouped"
    return fact(
        "heads", "heads", {"heads": heads, "key_value_heads": of_keys, "grouping": name}, f"{heads}, {grouping}"
    )


def _trained_on(description: Description) -> str:
    """What of the context is an extension, where the configuration says so."""
    rope, context = description.rope, description.shape.context
    original = rope.get("original_max_position_embeddings")
    if not isinstance(original, int) or not context or original >= context:
        return ""
    return f", stretched from {original:,} ({rope.get('rope_type', 'scaled')})"


def _rope(description: Description) -> Fact:
    if not description.rope:
        return unknown("rope", "rotary positions", "the class reads no rope_parameters")
    parts = (f"{key} {value}" for key, value in description.rope.items() if isinstance(value, (int, float, str)))
    tables = (
        f"{key}: base {value.get('rope_theta')}"
        for key, value in description.rope.items()
        if isinstance(value, Mapping)
    )
    return fact("rope", "rotary positions", dict(description.rope), ", ".join((*parts, *tables)))


def _window(description: Description) -> Fact:
    shape = description.shape
    if shape.window is None:
        return fact("sliding_window", "sliding window", False, "none")
    of = shape.layers if shape.window_layers is None else shape.window_layers
    told = f"{shape.window:,} tokens, in {of} of {shape.layers} layers"
    return fact("sliding_window", "sliding window", {"tokens": shape.window, "layers": of}, told)


def _cache(description: Description, bf16: Weighed | None) -> Iterator[Fact]:
    labels = ("kv_bytes_per_token", "KV cache a token"), ("kv_bytes_full", "KV cache at full context")
    prediction = None if bf16 is None else bf16.prediction
    if prediction is None or prediction.cache is None:
        why = "it was not predicted" if prediction is None else prediction.unpredicted
        for key, label in labels:
            yield unknown(key, label, why)
        return
    cache, context = prediction.cache, description.shape.context
    by_heads = _bytes_by_heads(description)
    other = by_heads is not None and by_heads != cache.token_bytes
    beside = f"; all keys and values of its heads would be {by_heads:,}" if other else ""
    yield size(*labels[0], cache.token_bytes, "", f", in 16 bits, as long as no window is full{beside}")
    state = sum(layer.state_bytes for layer in cache.layers)
    if state:
        yield size("state_bytes", "state of a sequence", state, "", ", whatever its length")
    if context is None:
        yield unknown(*labels[1], "the configuration says no length of a context")
    else:
        yield size(*labels[1], cache.held(1, context), "", f", one sequence of {context:,} tokens")


def _bytes_by_heads(description: Description) -> int | None:
    """What keys and values of all heads take for a token in 16 bits; some architectures keep something smaller."""
    shape = description.shape
    parts = (shape.layers, shape.key_value_heads, shape.head_dim)
    return None if None in parts else 2 * 2 * math.prod(part for part in parts if part is not None)
