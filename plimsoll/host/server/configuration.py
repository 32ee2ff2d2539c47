"""Compares a checkpoint's config.json with the configuration of its entry, with the class's defaults on both sides.

Files of the Hub spell the same thing in several ways: `rope_scaling` beside `rope_theta` or both in `rope_parameters`,
`type` or `rope_type`, null or nothing, `n_embd` or `hidden_size`. What both sides lead to is compared, and a key counts
as named by the entry whichever of its spellings the entry uses.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from transformers import AutoConfig, GenerationConfig, PretrainedConfig

from plimsoll.host.protocol import CompareConfig, ConfigDifference

_CLOSE: Final = 1e-6
"""Relative: config.json may have a number as a float32 left it, 9.99999974e-06 for 1e-5."""
_ABSENT: Final = "nothing"
_ROPE: Final = "rope_parameters"
_BEFORE_ROPE: Final = "rope_scaling"
"""The table of transformers 4, which had the base beside it."""
_BESIDE_ROPE: Final[Mapping[str, tuple[str, ...]]] = {
    "rope_theta": ("rope_theta", "rotary_emb_base"),
    "partial_rotary_factor": ("partial_rotary_factor", "rotary_pct"),
    "original_max_position_embeddings": ("original_max_position_embeddings",),
    "sliding_attention.rope_theta": ("rope_local_base_freq",),
    "full_attention.rope_theta": ("rope_theta",),
}
"""Keys of `rope_parameters` that files also have outside of it, and their names there."""
_FOLLOWS_FROM: Final = {"layer_types": ("layer_types", "max_window_layers", "sliding_window_pattern")}
_TYPE: Final = "rope_type"
_OLD_TYPE: Final = "type"
_END: Final = "eos_token_id"
_NEUTRAL: Final[Mapping[str, Any]] = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}
"""Keys that say which outputs a model was used for and nothing of what it is, with the values that leave that to
whoever asks it. An attention that config.json names wins over what is asked, and stays: a check tells so."""


def differences(request: CompareConfig) -> tuple[ConfigDifference, ...]:
    """Every key that differs, in the order of the alphabet. Raises what transformers raises for a configuration that it
    cannot read."""
    config = json.loads(request.config_json)
    entry = AutoConfig.for_model(**config)
    # The entry decides the class. What runs code to be read is no configuration.
    # Whatever the file says of the dtype, each load sets it: one that torch does not have is no obstacle to reading it.
    theirs = type(entry).from_pretrained(
        request.checkpoint,
        revision=request.revision or "main",
        dtype=entry.dtype or "float32",
        # It does not go with every attention that a file may name.
        output_attentions=False,
    )
    theirs.dtype = entry.dtype
    ours, found = dict(_effective(entry)), dict(_effective(theirs))
    stated = set(_stated(config, entry))
    ends = _generation_ends(request)
    differing = [
        ConfigDifference(
            key=key,
            entry=_text(ours, key),
            checkpoint=_text(found, key),
            stated=any(_names(name, key) for name in stated),
        )
        for key in sorted(ours.keys() | found.keys())
        if not _same(ours.get(key), found.get(key))
        and not (key == _END and _is_among(ours.get(key), found.get(key), ends))
        and not _is_read_by_nobody(key, ours, found, entry)
    ]
    return (*_other_type(request, entry), *differing)


def without_use(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json says of the model, without the outputs that it was used for; so for its parts."""
    return {
        key: without_use(value) if isinstance(value, Mapping) else value
        for key, value in raw.items()
        if key not in _NEUTRAL or value == _NEUTRAL[key]
    }


def neutralise(config: Any) -> None:
    """Leave the outputs of a configuration's model, and of its parts, to whoever asks it."""
    parts = [part for part in vars(config).values() if isinstance(part, PretrainedConfig)]
    for name, value in _NEUTRAL.items():
        if getattr(config, name, value) != value:
            setattr(config, name, value)
    for part in parts:
        neutralise(part)


def _other_type(request: CompareConfig, entry: Any) -> Iterator[ConfigDifference]:
    """The type of a checkpoint that is of another kind: its file is read as if it were of the entry's."""
    raw, _ = type(entry).get_config_dict(request.checkpoint, revision=request.revision or "main")
    kinds = [raw.get("model_type"), *(part.get("model_type") for part in raw.values() if isinstance(part, Mapping))]
    if kinds[0] is not None and entry.model_type not in kinds:
        yield ConfigDifference(
            key="model_type", entry=json.dumps(entry.model_type), checkpoint=json.dumps(kinds[0]), stated=True
        )


def _generation_ends(request: CompareConfig) -> list[int]:
    """The end tokens of generation_config.json, which come before those of config.json; none where there is no file."""
    try:
        generation = GenerationConfig.from_pretrained(request.checkpoint, revision=request.revision or "main")
    except OSError:
        return []
    return _listed(generation.eos_token_id)


def _effective(config: Any) -> Iterator[tuple[str, Any]]:
    """Each key of a configuration with its value, aliases of the class resolved."""
    leaves = dict(_leaves(config.to_dict()))
    heads, width = (leaves.get(name) for name in ("num_attention_heads", "hidden_size"))
    # Models whose class has no such field compute it, and files that have it are heeded.
    if leaves.get("head_dim") is None and isinstance(heads, int) and isinstance(width, int) and heads:
        leaves["head_dim"] = width // heads
    for key, value in leaves.items():
        table, _, name = key.rpartition(".")
        if not (name == _OLD_TYPE and f"{table}.{_TYPE}" in leaves):
            yield key, value


def _stated(config: Mapping[str, Any], kind: Any, prefix: str = "") -> Iterator[str]:
    """The keys that an entry names, in the spelling of the class; a table that is null counts as naming its type."""
    spelt: Mapping[str, str] = getattr(kind, "attribute_map", {})
    for key, value in config.items():
        path = f"{prefix}{spelt.get(key, key)}"
        if isinstance(value, Mapping):
            yield from _stated(value, getattr(kind, key, None), f"{path}.")
        else:
            yield f"{path}.{_TYPE}" if value is None and key in (_ROPE, _BEFORE_ROPE) else path


def _names(name: str, key: str) -> bool:
    """True where an entry that names one key has said what another, in the spelling of the class, must be."""
    return any(name == spelling or name.startswith(f"{spelling}.") for spelling in _spellings(key))


def _spellings(key: str) -> Iterator[str]:
    yield key
    before, _, name = key.rpartition(".")
    start = f"{before}." if before else ""
    yield from (f"{start}{other}" for other in _FOLLOWS_FROM.get(name, ()))
    parts = key.split(".")
    if _ROPE not in parts:
        return
    at = parts.index(_ROPE)
    start, rest = "".join(f"{part}." for part in parts[:at]), ".".join(parts[at + 1 :])
    # The table of before was one for all kinds of layers.
    for table in (f"{_ROPE}.{rest}", f"{_BEFORE_ROPE}.{rest}", f"{_BEFORE_ROPE}.{rest.rpartition('.')[2]}"):
        yield f"{start}{table}"
        if table.rpartition(".")[2] == _TYPE:
            yield f"{start}{table.removesuffix(_TYPE)}{_OLD_TYPE}"
    yield from (f"{start}{other}" for other in _BESIDE_ROPE.get(rest, ()))


def _is_read_by_nobody(key: str, ours: Mapping[str, Any], found: Mapping[str, Any], entry: Any) -> bool:
    """True for a key on one side only that the class has no field for, such as those that other programs leave in
    files."""
    if ours.get(key) is not None and found.get(key) is not None:
        return False
    holder = entry
    for part in key.split("."):
        if not isinstance(holder, PretrainedConfig):
            return False
        if part not in fields_of(type(holder)):
            return True
        holder = getattr(holder, part, None)
    return False


def fields_of(kind: type) -> set[str]:
    """The fields that a class of configurations has, those of its parents included."""
    names = {name for parent in (kind, PretrainedConfig) for name in inspect.signature(parent).parameters}
    return names | {"head_dim"} | ({field.name for field in fields(kind)} if is_dataclass(kind) else set())


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_among(entry: Any, checkpoint: Any, generation: list[int]) -> bool:
    """True where every end token that the entry names is one in config.json or in generation_config.json."""
    wanted = set(_listed(entry))
    return bool(wanted) and wanted <= {*_listed(checkpoint), *generation}


def _listed(ends: Any) -> list[int]:
    return list(ends) if isinstance(ends, (list, tuple)) else [] if ends is None else [ends]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        numbers = [value for value in (one, other) if isinstance(value, (int, float))]
        # An infinity is itself and no other number.
        return len(numbers) == 2 and math.isclose(*numbers, rel_tol=_CLOSE)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _text(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key], default=str) if config.get(key) is not None else _ABSENT
