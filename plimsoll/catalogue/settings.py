"""Reads load settings: how a checkpoint is to be loaded, in the words of an entry or of another loader's JSON.

`--load-config` takes what other loaders keep beside a model, `{"torch_dtype": "float16"}`, in their spelling and in
ours. Every setting is either used by the suite or refused here with the reason, because a setting that is silently
dropped costs more time than one that is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.units import SCALE, to_base
from plimsoll.userpath import user_path
from plimsoll.usertoml.reading import read_file, shown
from plimsoll.usertoml.suggest import did_you_mean

LOAD: Final = "load-"
"""The prefix of the alteration that --load-config makes: `tiny-phi/bf16:load-1f3a5c7e`."""

ATTENTIONS: Final = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
"""transformers' names of attention implementations."""
PLANNERS: Final = ("auto", "balanced", "balanced_low_0", "sequential")
"""The device maps that accelerate plans itself."""
ROPE_TYPES: Final = ("default", "dynamic", "linear", "llama3", "longrope", "proportional", "yarn")
"""The kinds of scaled position embeddings that transformers 5 knows; each model class checks which of them it takes."""
CONFIG_KEYS: Final = ("rope_parameters", "sliding_window", "max_position_embeddings")
"""What a variant may set in a model's configuration: settings of a load. Anything else would make another model."""
TOKENIZER_KEYS: Final = ("use_fast", "padding_side", "pad_token", "chat_template")
_OPTIONS: Final = ("max_memory", "offload_folder", "offload_buffers", "experts_implementation", "fused_experts")
"""Further arguments of from_pretrained that are passed on unchanged."""
DTYPES: Final = {"float32": Quantization.FP32, "bfloat16": Quantization.BF16, "float16": Quantization.FP16}
"""torch's names of dtypes -> what a variant is called whose weights have it."""
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
"""A commit of git, in full."""
_PLACE: Final = re.compile(r"(?:cuda:)?[0-9]{1,3}|cuda|cpu|disk")
_SIZE: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[KMGT]i?B)", re.IGNORECASE)

_SPELLINGS: Final[Mapping[str, str]] = {
    "torch_dtype": "dtype",
    "attention": "attn_implementation",
    "attn_impl": "attn_implementation",
    "rope_scaling": "rope_parameters",
    "code_revision": "revision",
}
"""Other spellings of arguments of `from_pretrained`: those of transformers 4, and of entries."""

_REFUSED: Final[Mapping[str, str]] = {
    "load_in_4bit": "is no argument of from_pretrained in transformers 5; select a variant that is packed so: -k nf4",
    "load_in_8bit": "is no argument of from_pretrained in transformers 5; select a variant that is packed so: -k int8",
    "cache_dir": "would look past the cache that was checked; set HF_HOME",
    "token": "is a secret, which evidence would keep; log in with 'hf auth login'",
    "use_auth_token": "is a secret, which evidence would keep; log in with 'hf auth login'",
    "use_safetensors": "is always on: other files can run code; an entry's allow_pickle says why one may be loaded",
    "ignore_mismatched_sizes": "cannot be set: a load must not end with weights that the checkpoint does not have",
    "state_dict": "cannot be set: a load must not end with weights that the checkpoint does not have",
    "output_loading_info": "is always on",
    "offload_state_dict": "has no effect in transformers 5",
    "_fast_init": "has no effect in transformers 5",
    "resume_download": "has no effect, for weights are fetched before they are loaded",
    "mirror": "has no effect in transformers 5",
    "local_files_only": "has no effect: a host gets a folder, and never asks the Hub",
    "force_download": "has no effect: a host gets a folder, and never asks the Hub",
    "max_tokens": "is no setting of a load; an entry's [model.generation] says max_new_tokens",
    "use_cache": "is no setting of a load: the suite decodes with the cache and without, and compares the two",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """What a load changes in its entry; what is None or empty stays as the entry says."""

    given: Mapping[str, Any] = field(default_factory=dict)
    """Every setting in the spelling of transformers 5, including those without effect."""
    dtype: str | None = None
    """The torch dtype name of everything that is not packed."""
    attention: str | None = None
    device_map: Mapping[str, str | int] | str | None = None
    load_options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    trust_remote_code: bool | None = None
    revision: str | None = None
    notes: tuple[str, ...] = ()
    """Settings that change nothing because they are in force already, each with the reason."""

    @property
    def text(self) -> str:
        """The settings as one line of JSON, which `read_settings` reads back."""
        return json.dumps(dict(self.given), sort_keys=True)

    @property
    def alteration(self) -> str:
        """The suffix for the id of a variant that they alter."""
        return LOAD + hashlib.sha256(self.text.encode()).hexdigest()[:8]


def read_settings(given: str, base: Path, *, pinned: bool = True) -> LoadSettings:
    """The settings of a JSON object, or of a file that holds one; a relative path starts at `base`.

    `pinned` asks for a commit where remote code is to run. Raises PlimsollError with every fault at once.
    """
    where = "--load-config"
    text = given
    if not given.lstrip().startswith("{"):
        path = Path(base, user_path(given))
        where = str(path)
        try:
            text = read_file(path).decode("utf-8")
        except OSError as error:
            hint = '; write a JSON object, such as \'{"dtype": "float16"}\', or the path of a file with one'
            raise PlimsollError(f"{where} cannot be read ({reason_of(error)}){hint}") from None
        except UnicodeDecodeError:
            raise PlimsollError(f"{where} is no text in UTF-8") from None
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PlimsollError(f"{where} is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise PlimsollError(f'{where} must be a JSON object, such as {{"dtype": "float16"}}, not {data!r:.60}')
    return settings_of(data, where, pinned=pinned)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands there twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def settings_of(data: Mapping[str, Any], where: str, *, pinned: bool = True) -> LoadSettings:
    """The settings in a mapping, in any spelling. Raises PlimsollError with every fault at once."""
    faults: list[str] = []
    given: dict[str, Any] = {}
    notes: list[str] = []
    for name, value in data.items():
        plain = _SPELLINGS.get(name, name)
        if plain in given:
            faults.append(f"{name} is another spelling of {plain}, which is there too; keep one of them")
            continue
        if plain in _REFUSED:
            faults.append(f"{name} {_REFUSED[plain]}")
            continue
        if plain not in _READERS:
            faults.append(f"unknown setting {name!r}; {did_you_mean(name, (*_READERS, *_SPELLINGS, *_REFUSED))}")
            continue
        try:
            given[plain] = _READERS[plain](value)
        except ValueError as error:
            faults.append(f"{name} {error}")
    if given.get("low_cpu_mem_usage"):
        notes.append("low_cpu_mem_usage changes nothing: transformers 5 always loads so")
    if pinned and given.get("trust_remote_code") and not given.get("revision"):
        faults.append("trust_remote_code needs revision, the 40 hexadecimal digits of a commit: code can be moved")
    if isinstance(given.get("device_map"), Mapping) and "max_memory" in given:
        faults.append("max_memory has no effect beside a device_map that names places; let device_map be 'auto'")
    if "max_memory" in given and "device_map" not in given:
        notes.append("device_map is 'auto' for max_memory, which the planner alone heeds")
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults)
        raise PlimsollError(f"{where}: {len(faults)} setting{'s' if len(faults) > 1 else ''} cannot be used:{listed}")
    return LoadSettings(
        given=given,
        dtype=given.get("dtype"),
        attention=given.get("attn_implementation"),
        device_map=given.get("device_map", "auto" if "max_memory" in given else None),
        load_options={name: given[name] for name in (*_OPTIONS, "quantization_config") if name in given},
        config={name: given[name] for name in CONFIG_KEYS if name in given},
        tokenizer={name: given[name] for name in TOKENIZER_KEYS if name in given},
        trust_remote_code=given.get("trust_remote_code"),
        revision=given.get("revision"),
        notes=tuple(notes),
    )


def _dtype(value: Any) -> str:
    name = value.removeprefix("torch.") if isinstance(value, str) else value
    if name == "auto":
        raise ValueError("'auto' takes what the checkpoint says; name float32, bfloat16 or float16")
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"must be one of {', '.join(DTYPES)}, not {value!r:.60}")
    return name


def _among(names: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            hint = did_you_mean(value, names) if isinstance(value, str) else f"known: {', '.join(names)}"
            raise ValueError(f"cannot be {value!r:.60}; {hint}")
        return value

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r:.60}")  # noqa: TRY004  as all readers raise
    return value


def _low_memory(value: Any) -> bool:
    if _flag(value):
        return True
    raise ValueError("cannot be turned off: transformers 5 always loads so")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be text, not {value!r:.60}")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"must be a whole number from 1, not {value!r:.60}")
    return value


def _window(value: Any) -> int | None:
    return None if value is None else _count(value)


def _commit(value: Any) -> str:
    if not isinstance(value, str) or not COMMIT.fullmatch(value):
        raise ValueError("must be the 40 hexadecimal digits of a commit: a branch or a tag can be moved")
    return value


def read_device_map(value: Any) -> Any:
    """Read a planner's name, a place, or a table of module = place. Raises ValueError for anything else."""
    places = list(value.values()) if isinstance(value, Mapping) else [value]
    known = PLANNERS if isinstance(value, str) else ()
    for place in places:
        text = str(place) if isinstance(place, int) and not isinstance(place, bool) else place
        if not isinstance(text, str) or not (text in known or _PLACE.fullmatch(text)):
            raise ValueError(
                f"has no place {place!r:.60}; use {', '.join(PLANNERS)}, cpu, cuda:0, or a table of module = place"
            )
    if not places:
        raise ValueError("is empty; use 'auto', a place such as 'cuda:0', or a table of module = place")
    return dict(value) if isinstance(value, Mapping) else value


def read_max_memory(value: Any) -> dict[str, str | int]:
    """Read place -> the most bytes there. Raises ValueError for what accelerate would misread: a size in text without a
    unit, an unknown place."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError('must be an object of place = size, such as {"0": "12GiB", "cpu": "32GiB"}')
    found: dict[str, str | int] = {}
    for place, size in value.items():
        name = str(place).removeprefix("cuda:")
        if not (name.isdecimal() or name == "cpu"):
            raise ValueError(f"has no place {place!r:.40}: GPUs are numbers from 0, and RAM is cpu")
        if size_in_bytes(size) is None:
            raise ValueError(f"of {place} must be bytes as a whole number, or a size such as '12GiB', not {size!r:.40}")
        found[name] = size
    return found


def size_in_bytes(size: Any) -> int | None:
    """Bytes of a size as accelerate writes it, `12GiB`; None for anything else."""
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if match is None:
        return None
    letters = match["unit"].upper().replace("I", "i")
    unit = "kB" if letters == "KB" else letters
    return int(to_base(float(match["number"]), unit)[0]) if unit in SCALE else None


def read_rope(value: Any) -> dict[str, Any]:
    """Read position embeddings in the spelling of transformers 5. Raises ValueError for an unknown kind."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError('must be an object, such as {"rope_type": "linear", "factor": 2.0}')
    found = dict(value)
    old = found.pop("type", None)
    kind = found.setdefault("rope_type", old)
    if kind is None:
        del found["rope_type"]
    elif old is not None and old != kind:
        raise ValueError(f"says type {old!r:.40} and rope_type {kind!r:.40}; keep rope_type")
    elif kind not in ROPE_TYPES:
        raise ValueError(f"has no rope_type {kind!r:.40}; {did_you_mean(str(kind), ROPE_TYPES)}")
    factor = found.get("factor")
    if factor is not None and (isinstance(factor, bool) or not isinstance(factor, int | float) or factor < 1):
        raise ValueError(f"has factor {factor!r:.40}, which must be a number from 1")
    return found


def _padding_side(value: Any) -> str:
    if value == "right":
        raise ValueError("cannot be right: a decoder goes on from the end of its row, which would be padding")
    return _among(("left",))(value)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"must be an object, not {value!r:.60}")
    return dict(value)


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "dtype": _dtype,
    "attn_implementation": _among(ATTENTIONS),
    "device_map": read_device_map,
    "max_memory": read_max_memory,
    "low_cpu_mem_usage": _low_memory,
    "offload_folder": _text,
    "offload_buffers": _flag,
    "experts_implementation": _text,
    "fused_experts": _among(("quantized", "stock")),
    "quantization_config": _table,
    "rope_parameters": read_rope,
    "sliding_window": _window,
    "max_position_embeddings": _count,
    "use_fast": _flag,
    "padding_side": _padding_side,
    "pad_token": _text,
    "chat_template": _text,
    "trust_remote_code": _flag,
    "revision": _commit,
}
"""Setting -> the function that reads its value, and raises ValueError for a bad one."""


def table_faults(kind: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The faults in a variant's own table `config` or `tokenizer`: key and fault."""
    known = {"config": CONFIG_KEYS, "tokenizer": TOKENIZER_KEYS}[kind]
    for name, value in table.items():
        if name not in known:
            yield name, f"is no setting of a variant's {kind}; {did_you_mean(name, known)}"
            continue
        try:
            _READERS[name](value)
        except ValueError as error:
            yield name, str(error)


def fault_of_packing(given: object) -> str:
    """Why the `quantization_config` of a configuration packs nothing; empty where it packs, in whatever scheme."""
    if not isinstance(given, Mapping):
        return f"is {shown(given)}, and no table"
    bits = [key for key in ("load_in_4bit", "load_in_8bit") if given.get(key)]
    method = given.get("quant_method", "bitsandbytes" if bits else None)
    if not isinstance(method, str) or not method:
        return f"has {'no' if not method else shown(method) + ' for a'} quant_method, which names the scheme"
    if method == "bitsandbytes" and not bits:
        return "says bitsandbytes and neither load_in_4bit nor load_in_8bit, so it packs nothing"
    return ""


def merged_config(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with a variant's settings applied. Parts of the position embeddings that are not named stay, most
    of all the base of the frequencies; in a model with a part for text (`text_config`) the settings apply to it."""
    if not changes:
        return dict(config)
    part = config.get("text_config")
    if isinstance(part, Mapping):
        return {**config, "text_config": merged_config(part, changes)}
    merged = {**config, **changes}
    rope = changes.get("rope_parameters")
    own = config.get("rope_parameters")
    if isinstance(rope, Mapping) and isinstance(own, Mapping):
        merged["rope_parameters"] = {**own, **rope}
    return merged


def is_configured(variant: Variant) -> bool:
    """True for a variant that sets more than its quantization, attention and the tier's device."""
    return bool(
        variant.settings
        or variant.config
        or variant.tokenizer
        or variant.load_options
        or variant.device_map is not None
        or variant.model.trust_remote_code
    )


def may_offload(load_options: Mapping[str, Any]) -> bool:
    """True where a load may put weights in RAM or on a disk: limits for places mean that not everything fits."""
    return "max_memory" in load_options or "offload_folder" in load_options
