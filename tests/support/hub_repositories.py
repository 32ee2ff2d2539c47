"""Repositories for a Hub on the loopback, and user catalogues whose models come from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.broken_checkpoints import model_entry, shipped, variant_entry

COMMIT = "c0ffee" + "0" * 34
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def make_repository(folder: Path, first_shard: int = 2000) -> Path:
    """Files that look like a checkpoint and hold no model; `first_shard` in bytes."""
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "README.md").write_text("not needed")
    for number, name in enumerate(SHARDS):
        (folder / name).write_bytes(bytes([number]) * (first_shard if number == 0 else 1000))
    index = {"weight_map": {f"tensor.{number}": name for number, name in enumerate(SHARDS)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    return folder


def hub_entry(name: str, hub_id: str, quantizations: Sequence[str] = ("bf16",), **fields: Any) -> str:
    """A `[[model]]` like tiny-llama, but from the Hub, and its variants."""
    local = model_entry(shipped("tiny-llama"), name, Path("unused"), source="hub", hub_id=hub_id, **fields)
    lines = [line for line in local.splitlines() if not line.startswith("path = ")]
    return "\n".join([*lines, variant_entry(name, quantizations)])


def hub_catalogue(folder: Path, *entries: str) -> Path:
    """The entries as a file."""
    path = folder / "hub.toml"
    path.write_text("\n".join(entries))
    return path
