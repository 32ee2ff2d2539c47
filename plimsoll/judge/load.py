"""Judges what a load reports against its entry: parameter names, settings without effect, keys that make another model.

A setting without effect is a finding: whoever set it believes that it works, and looks for the cause of the next
failure in the wrong place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from plimsoll.catalogue.entries import Variant, WeightSource
from plimsoll.catalogue.settings import size_in_bytes
from plimsoll.host.protocol import ConfigDifference, LoadReport
from plimsoll.units import format_bytes

_SHOWN: Final = 8
"""Parameter names that a message gives."""
_HARMLESS: Final = frozenset(
    {
        "_attn_implementation",
        "_experts_implementation",
        "_name_or_path",
        "architectures",
        "auto_map",
        "chunk_size_feed_forward",
        "dtype",
        "id2label",
        "initializer_factor",
        "initializer_range",
        "is_decoder",
        "is_encoder_decoder",
        "label2id",
        "max_window_layers",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "pretraining_tp",
        "problem_type",
        "quantization_config",
        "return_dict",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Keys that do not change what a loaded model computes: training, bookkeeping, and what the suite sets itself. Packing
is judged by what is stored."""
_TOKENS: Final = ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id")


def names_apart(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """The differences between the names of a model and those of its checkpoint; empty where they agree.

    `missing` are names that only the model has, `unexpected` those that only the checkpoint has. Where the unexpected
    names are the missing ones with a prefix, as for a model saved from within a wrapper, the prefix is named.
    """
    if not missing and not unexpected:
        return ""
    lines = []
    if missing:
        lines.append(f"not in the checkpoint, so randomly initialised: {_some(missing)}")
    if unexpected:
        lines.append(f"in the checkpoint, but nowhere in the model: {_some(unexpected)}")
    prefix = _prefix(missing, unexpected)
    if prefix:
        lines.append(
            f"these are the same names behind the prefix {prefix!r}: the model was saved from within a wrapper; "
            "save it again without, or rename the tensors"
        )
    return "\n".join(lines)


def _prefix(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """The prefix that turns missing names into unexpected ones; empty where there is none."""
    wanted = set(missing)
    for name in unexpected:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            prefix = ".".join(parts[:cut]) + "."
            if name.removeprefix(prefix) in wanted and all(other.startswith(prefix) for other in unexpected):
                return prefix
    return ""


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def unheeded(variant: Variant, report: LoadReport) -> list[str]:
    """Every setting of the variant that is not in force in the loaded model, each with what is in force instead."""
    found = report.effective
    return [
        *_config(variant.config, found.get("config") or {}),
        *_tokenizer(variant.tokenizer, found.get("tokenizer")),
        *_memory(variant.load_options.get("max_memory"), found.get("bytes") or {}),
        *_placed(variant, report),
        *_remote_code(variant, found),
        *_revision(variant),
    ]


def _config(asked: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in asked.items():
        has = found.get(name)
        if isinstance(value, Mapping) and isinstance(has, Mapping):
            same = all(has.get(key) == one for key, one in value.items())
        else:
            same = has == value
        if not same:
            yield f"{name} was set to {value!r}, and the loaded model has {has!r}"


def _tokenizer(asked: Mapping[str, Any], found: Mapping[str, Any] | None) -> Iterator[str]:
    if asked and found is None:
        yield f"{', '.join(asked)} of the tokenizer had no effect: synthetic weights have no tokenizer"
        return
    for name, value in asked.items():
        has = (found or {}).get(name)
        wanted = hashlib.sha256(str(value).encode()).hexdigest() if name == "chat_template" else value
        if has != wanted:
            yield f"{name} was set to {value!r:.60}, and the tokenizer has {has!r:.80}"


def _memory(asked: Any, found: Mapping[str, int]) -> Iterator[str]:
    """Places that hold more than their limit. The planner keeps room for one layer within it, and never uses it."""
    for place, size in (asked or {}).items():
        limit = size_in_bytes(size)
        name = f"cuda:{place}" if str(place).isdecimal() else str(place)
        held = sum(bytes_ for where, bytes_ in found.items() if where in (name, str(place)))
        if limit is not None and held > limit:
            yield f"max_memory of {place} was set to {size}, and {format_bytes(held)} of weights lie there"


def _placed(variant: Variant, report: LoadReport) -> Iterator[str]:
    """Parts that are not where the entry's device map puts them."""
    if not isinstance(variant.device_map, Mapping):
        return
    for module, place in variant.device_map.items():
        name = f"cuda:{place}" if str(place).isdecimal() else str(place)
        name = "cuda:0" if name == "cuda" else name
        has = report.device_map.get(module)
        if has is not None and has != name:
            yield f"device_map puts {module or 'the whole model'} on {name}, and it is on {has}"


def _remote_code(variant: Variant, found: Mapping[str, Any]) -> Iterator[str]:
    if variant.model.trust_remote_code and not found.get("remote_code"):
        yield (
            "trust_remote_code is on, and the class is transformers' own: the checkpoint brings no code for it; turn "
            "it off, so that none can come with the next revision"
        )


def _revision(variant: Variant) -> Iterator[str]:
    """A revision that has no effect. Remote code needs one for any weights; without remote code, only a repository has
    revisions."""
    asked = variant.settings.get("revision")
    if asked and variant.model.source is not WeightSource.HUB and not variant.model.trust_remote_code:
        yield f"revision was set to {asked}, and the weights do not come from the Hub; remove it"


def is_other_model(difference: ConfigDifference) -> bool:
    """True for a key that makes the checkpoint another model than its entry says. A key that the entry leaves to the
    checkpoint cannot differ."""
    return difference.stated and changes_the_model(difference)


def changes_the_model(difference: ConfigDifference) -> bool:
    """True for a key that changes what a loaded model computes, or where it stops."""
    *parts, key = difference.key.split(".")
    if key in _TOKENS:
        return key == "eos_token_id"
    if _HARMLESS & {*parts, key}:
        return False
    return not key.endswith(("_dropout", "_pdrop")) and not key.startswith("dropout")


def in_words(differences: Sequence[ConfigDifference]) -> str:
    """`rope_parameters.rope_theta is 10000.0 in config.json, 100000.0 in the entry; ...`."""
    return "; ".join(
        f"{each.key} is {each.checkpoint} in config.json, {each.entry} "
        + ("in the entry" if each.stated else "by default, since the entry does not name it")
        for each in differences
    )
