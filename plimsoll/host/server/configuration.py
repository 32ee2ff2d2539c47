"""A checkpoint's config.json held against the configuration of its entry, with the class's defaults on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from transformers import AutoConfig

from plimsoll.host.protocol import CompareConfig, ConfigDifference

_CLOSE: Final = 1e-6
"""Relative: config.json may have a number as a float32 left it, 9.99999974e-06 for 1e-5."""
_ABSENT: Final = "nothing"


def differences(request: CompareConfig) -> tuple[ConfigDifference, ...]:
    """Every key that differs, in the order of the alphabet. Raises what transformers raises for a configuration that it
    cannot read."""
    config = json.loads(request.config_json)
    entry = AutoConfig.for_model(**config)
    # The entry decides the class. What runs code to be read is no configuration.
    theirs = type(entry).from_pretrained(request.checkpoint, revision=request.revision or "main")
    ours, found = (dict(_leaves(config.to_dict())) for config in (entry, theirs))
    stated = {key for key, _ in _leaves(config)}
    return tuple(
        ConfigDifference(
            key=key,
            entry=_text(ours, key),
            checkpoint=_text(found, key),
            stated=any(key == name or name.startswith(f"{key}.") for name in stated),
        )
        for key in sorted(ours.keys() | found.keys())
        if not _same(ours.get(key), found.get(key))
    )


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        numbers = [value for value in (one, other) if isinstance(value, (int, float))]
        return len(numbers) == 2 and abs(numbers[0] - numbers[1]) <= _CLOSE * max(map(abs, numbers))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _text(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key], default=str) if key in config else _ABSENT
