"""Checks that the settings of a load took effect.

A setting without effect is a finding: whoever set it believes that it works, and looks for the cause of the next
failure in the wrong place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from plimsoll.catalogue.entries import Variant, WeightSource
from plimsoll.catalogue.settings import size_in_bytes
from plimsoll.host.protocol import LoadReport
from plimsoll.units import format_bytes


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
