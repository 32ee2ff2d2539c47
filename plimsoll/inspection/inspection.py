"""Puts together what is known of a model before it is loaded: chapters of facts, weights, levers, and what cannot be
asked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.describing import Description
from plimsoll.inspection.facts import Chapter, Fact, count, fact, size, unknown
from plimsoll.inspection.finding import FoundModel, NameKind
from plimsoll.inspection.model import UNKNOWN, advice, licence
from plimsoll.inspection.weighing import Lever, Weighed
from plimsoll.units import counted, format_bytes

_HARDWARE: Final = re.compile(
    r"\b(GPUs?|CUDA|NVIDIA|ROCm|AMD|A100|A6000|H100|H200|V100|flash[ -]attention|VRAM)\b", re.IGNORECASE
)
_QUOTED: Final = 3
"""Lines of a card that are quoted on hardware."""
_LONGEST: Final = 200
_SAYS_NOTHING: Final = "the configuration does not say"
_NOT_READ: Final = "no weights were looked at"
_WIDTHS: Final = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""Bytes of an element of the dtypes in which a parameter is an element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that is known of one model."""

    found: FoundModel
    description: Description | None
    """None where this environment cannot build the class, and `undescribed` says why."""
    undescribed: str
    chapters: Sequence[Chapter]
    weighed: Sequence[Weighed]
    levers: Sequence[Lever]
    cannot_ask: str
    """What the suite cannot ask of it, in one line; empty where it can ask everything."""


def inspection_of(
    found: FoundModel,
    description: Description | None,
    undescribed: str,
    weighed: Sequence[Weighed],
    levers: Sequence[Lever],
) -> Inspection:
    """The inspection of a found model, with what a host said of it."""
    bf16 = next((one for one in weighed if one.quantization is Quantization.BF16), None)
    chapters = (
        Chapter(key="source", title="where it comes from", facts=tuple(_source(found))),
        Chapter(key="class", title="what it is", facts=tuple(_class(found, description, undescribed))),
        Chapter(key="parameters", title="parameters", facts=tuple(_parameters(found, description, undescribed))),
        Chapter(
            key="attention",
            title="attention and context",
            facts=tuple(_attention(found, description, bf16, undescribed)),
        ),
        Chapter(key="use", title="how its makers use it", facts=tuple(_use(found))),
    )
    return Inspection(
        found=found,
        description=description,
        undescribed=undescribed,
        chapters=chapters,
        weighed=weighed,
        levers=levers,
        cannot_ask=cannot_ask(found, description, bf16),
    )


def cannot_ask(found: FoundModel, description: Description | None, bf16: Weighed | None) -> str:
    """What the suite cannot ask of a model, and what becomes of its checks; empty where it can ask all."""
    if description is None:
        return ""
    name = description.architecture
    if description.encoder_decoder:
        return f"{name} is an encoder with a decoder: all checks are skipped (architecture), so a run is INCOMPLETE"
    if not description.generates:
        return f"{name} generates no text: all checks are skipped (architecture), so a run is INCOMPLETE"
    if description.scheme:
        return "its weights are packed already, so it is not compared with bf16"
    if found.kind is NameKind.CONFIG:
        return "there are no weights, so they are made up: memory and loading are asked, answers are not"
    if bf16 is not None and bf16.prediction is not None and bf16.prediction.unpredicted:
        return (
            f"cache and activations are not predicted ({bf16.prediction.unpredicted}), so room for them is not checked"
        )
    return ""


def _source(found: FoundModel) -> Iterator[Fact]:
    kinds = {
        NameKind.HUB: "a repository of the Hub",
        NameKind.FOLDER: "a folder",
        NameKind.CONFIG: "a configuration alone",
        NameKind.ENTRY: "an entry of the catalogue",
    }
    yield fact("kind", "found as", found.kind.value, f"{found.name}, {kinds[found.kind]}")
    repository, entry = found.repository, found.entry
    card = entry.card if entry is not None else None
    commit = entry.revision if entry is not None else None
    if repository is not None:
        card = f"{repository.access.endpoint}/{repository.access.repository}"
        commit = repository.access.commit
        offline = repository.access.answer.value == "cached"
        yield fact("cached", "read from", offline, "the cache of the Hub" if offline else repository.access.endpoint)
        yield fact("gated", "gated", repository.gated, "yes" if repository.gated else "no")
    yield fact("card", "model card", card) if card else unknown("card", "model card", "not from the Hub")
    yield fact("revision", "revision", commit) if commit else unknown("revision", "revision", "not from the Hub")
    told = licence(found)
    yield unknown("licence", "licence", "no card says") if told == UNKNOWN else fact("licence", "licence", told)
    base = None if repository is None else repository.card.get("base_model")
    if base:
        yield fact("base_model", "made from", base, ", ".join(map(str, base)) if isinstance(base, list) else str(base))
    yield from _files(found)


def _files(found: FoundModel) -> Iterator[Fact]:
    contents = found.contents
    if contents is None:
        yield unknown("extra_files", "files beside weights", "there is no folder and no repository")
        return
    others = [name for name in contents.files if name not in contents.weights and not name.startswith(".")]
    shown = [PurePosixPath(name).name for name in others[:12]]
    more = f", and {len(others) - 12} more" if len(others) > 12 else ""
    yield fact("extra_files", "files beside weights", others, ", ".join(shown) + more or "none")
    if not contents.weights:
        yield unknown("weight_files", "files of weights", "there are none in safetensors")
        return
    sizes = sum(contents.files[name] for name in contents.weights)
    value = {"files": len(contents.weights), "bytes": sizes}
    yield fact(
        "weight_files", "files of weights", value, f"{counted(len(contents.weights), 'file')}, {format_bytes(sizes)}"
    )
    if contents.unread:
        yield unknown("unread", "not read", "; ".join(contents.unread))


def _class(found: FoundModel, description: Description | None, undescribed: str) -> Iterator[Fact]:
    config = found.config
    model_type = config.get("model_type")
    yield (
        fact("model_type", "model_type", model_type)
        if model_type
        else unknown("model_type", "model_type", _SAYS_NOTHING)
    )
    named = config.get("architectures")
    if description is not None:
        by = "" if description.named else ", which transformers takes for it: the configuration names none"
        yield fact("architecture", "class", description.architecture, f"{description.architecture}{by}")
        yield fact("auto_class", "loaded by", description.auto_class)
        yield fact("native", "in transformers", True, f"yes, {description.transformers}")
    else:
        name = named[0] if isinstance(named, list) and named else None
        yield fact("architecture", "class", name) if name else unknown("architecture", "class", _SAYS_NOTHING)
        yield unknown("native", "in transformers", undescribed)
    yield _remote_code(found, description)
    dtype = _dtype(config)
    yield fact("dtype", "saved in", dtype) if dtype else unknown("dtype", "saved in", _SAYS_NOTHING)
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


def _parameters(found: FoundModel, description: Description | None, undescribed: str) -> Iterator[Fact]:
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


def _attention(
    found: FoundModel, description: Description | None, bf16: Weighed | None, undescribed: str
) -> Iterator[Fact]:
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
    yield count("layers", "layers", shape.layers, _SAYS_NOTHING)
    yield _heads(description)
    yield count("head_dim", "width of a head", shape.head_dim, _SAYS_NOTHING)
    yield count("context", "context", shape.context, _SAYS_NOTHING, f" tokens{_trained_on(description)}")
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
        return unknown("heads", "heads", _SAYS_NOTHING)
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


def _use(found: FoundModel) -> Iterator[Fact]:
    told = advice(found)
    if told:
        text = ", ".join(f"{key} {value}" for key, value in told.items())
        yield fact("recommended", "recommended settings", told, text)
    elif found.entry is not None:
        yield unknown("recommended", "recommended settings", "the entry keeps none")
    elif found.contents is not None and "generation_config.json" in found.contents.texts:
        yield fact("recommended", "recommended settings", {}, "generation_config.json has none")
    else:
        yield unknown("recommended", "recommended settings", "there is no generation_config.json")
    yield _ends(found)
    yield _template(found)
    yield _special_tokens(found)
    yield _hardware(found)


def _ends(found: FoundModel) -> Fact:
    values = (found.settings("generation_config.json").get("eos_token_id"), found.config.get("eos_token_id"))
    value = next((one for one in values if one is not None), None)
    return (
        unknown("end_tokens", "ends at", _SAYS_NOTHING)
        if value is None
        else fact("end_tokens", "ends at", value, f"token {value}")
    )


def _template(found: FoundModel) -> Fact:
    key, label = "chat_template", "chat template"
    if found.contents is None:
        return unknown(key, label, "there is no folder and no repository")
    files = [name for name in ("chat_template.jinja", "chat_template.json") if name in found.contents.texts]
    inside = found.settings("tokenizer_config.json").get("chat_template")
    where = files[0] if files else "tokenizer_config.json" if inside else ""
    return fact(key, label, where or False, f"yes, in {where}" if where else "none: a base model, or asked without one")


def _special_tokens(found: FoundModel) -> Fact:
    key, label = "special_tokens", "special tokens"
    settings = {**found.settings("special_tokens_map.json"), **found.settings("tokenizer_config.json")}
    tokens = {name: _token(settings[name]) for name in sorted(settings) if name.endswith("_token")}
    told = {name: text for name, text in tokens.items() if text is not None}
    if not told:
        why = "no tokenizer_config.json" if not settings else "tokenizer_config.json names none"
        return unknown(key, label, why)
    return fact(key, label, told, ", ".join(f"{name.removesuffix('_token')} {text}" for name, text in told.items()))


def _token(value: object) -> str | None:
    text = value.get("content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None


def _hardware(found: FoundModel) -> Fact:
    key, label = "hardware", "hardware that its card assumes"
    if found.entry is not None and found.entry.hardware:
        return fact(key, label, [found.entry.hardware], found.entry.hardware)
    if found.repository is not None:
        return unknown(key, label, "the card's text is not read; look there")
    quoted = _quoted(found)
    if quoted:
        return fact(key, label, quoted, " / ".join(quoted))
    return unknown(key, label, "no card says")


def _quoted(found: FoundModel) -> list[str]:
    """The lines of a folder's card that speak of hardware."""
    if found.folder is None:
        return []
    try:
        text = (found.folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    lines = [line.strip(" *-#") for line in text.splitlines() if _HARDWARE.search(line)]
    return [line[:_LONGEST] for line in lines if line][:_QUOTED]
