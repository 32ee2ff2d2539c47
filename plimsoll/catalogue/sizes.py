"""The largest sizes that a configuration may name. transformers builds what lies beyond them for days, or fails on it
with a traceback. Alone here, for a checkpoint's own config.json is held against them where no entry is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_MOST_LAYERS: Final = 10_000
_MOST_EXPERTS: Final = 1_000_000
"""Doge has 16,384, as rows of an embedding."""
_MOST_WIDE: Final = 10_000_000
_SIZES: Final = {
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), _MOST_LAYERS),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), _MOST_EXPERTS),
    **dict.fromkeys(("hidden_size", "intermediate_size", "n_embd", "d_model", "d_ff", "vocab_size"), _MOST_WIDE),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "head_dim"), _MOST_WIDE),
    "max_position_embeddings": 2**40,
}
"""Keys of a configuration -> their largest allowed value; the smallest is 1."""
_COUNTED: Final = re.compile(r"(num_|n_|(.+_)?(encoder|decoder)_)(.+_)?(layers|blocks|experts)$")
"""Keys by which other classes call what they build so many of; of some of it there may be none."""


def sizes_of(config: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, int]]:
    """The path, the value and the largest allowed value of each size in a configuration and its parts."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from sizes_of(value, (*path, key))
        elif key in _SIZES:
            yield (*path, key), value, _SIZES[key]


def too_large(config: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float, int]]:
    """The path, the value and the largest allowed value of each number in a configuration and its parts that is beyond
    it, by whichever key classes have for it."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from too_large(value, (*path, key))
        elif isinstance(value, int | float):
            most = _most(key)
            if most is not None and value > most:
                yield (*path, key), value, most


def _most(key: str) -> int | None:
    if key in _SIZES or not _COUNTED.match(key):
        return _SIZES.get(key)
    return _MOST_EXPERTS if key.endswith("experts") else _MOST_LAYERS
