"""Really damaged checkpoints, and user catalogues that name them: what the suite must withstand.

Where an id begins with `tiny-`, its variants bring claims like those of the shipped tiny checkpoints: what ships speaks
of what ships, and these read no more English than those.
"""

from __future__ import annotations

import json
import shutil
import struct
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plimsoll.catalogue.entries import Model
from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.tiny.checkpoint import MANIFEST

Damage = Callable[[Path], None]


def toml_value(value: Any) -> str:
    """A value as TOML; JSON's scalars and arrays are TOML's too."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml_value(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def model_entry(model: Model, name: str, path: Path, **fields: Any) -> str:
    """A `[[model]]` like a shipped one, but local, under another id; `fields` are added or replace."""
    entry: dict[str, Any] = {
        "id": name,
        "family": model.family,
        "architecture": model.architecture,
        "source": "local",
        "path": str(path),
        "licence": model.licence,
        **fields,
    }
    absent = [key for key, value in model.config.items() if value is None]
    if absent:
        entry["config_null"] = absent
    config = {key: value for key, value in model.config.items() if value is not None}
    generation = {"max_new_tokens": model.generation.max_new_tokens, "pad_token": model.generation.pad_token}
    lines = ["[[model]]", *(f"{key} = {toml_value(value)}" for key, value in entry.items())]
    lines += ["[model.config]", *(f"{key} = {toml_value(value)}" for key, value in config.items())]
    lines += ["[model.generation]", *(f"{key} = {toml_value(value)}" for key, value in generation.items())]
    return "\n".join(lines) + "\n"


def variant_entry(model: str, quantizations: Sequence[str], **fields: Any) -> str:
    """A `[[variant]]` of the tiny tier."""
    entry = {"models": [model], "quantizations": list(quantizations), "tier": "tiny", **fields}
    tables = [("variant", entry)]
    if model.startswith("tiny-"):
        tables += [("claim", claim) for claim in _tiny_claims(model, quantizations, fields.get("name"))]
    return "\n".join(
        "".join((f"[[{kind}]]\n", *(f"{key} = {toml_value(value)}\n" for key, value in table.items())))
        for kind, table in tables
    )


def _tiny_claims(model: str, quantizations: Sequence[str], name: str | None) -> Iterator[dict[str, Any]]:
    """The claims on the tiny checkpoints, of these variants."""
    for claim in tomllib.loads((shipped_root() / "claims" / "tiny.toml").read_text())["claim"]:
        schemes = [pattern.partition("/")[2] for pattern in claim["variants"]]
        meant = [quantization for quantization in quantizations if "" in schemes or quantization in schemes]
        if meant:
            ending = f"-{name}" if name else ""
            yield {**claim, "variants": [f"{model}/{quantization}{ending}" for quantization in meant]}


def shipped(name: str) -> Model:
    """A model of the shipped catalogue."""
    return read_catalogue().models[name]


def copy_damaged(source: Path, target: Path, damage: Damage, *, with_manifest: bool = False) -> Path:
    """A copy of a checkpoint with something done to it. The manifest, which would give it away at once, stays behind
    unless asked for."""
    shutil.copytree(source, target, ignore=None if with_manifest else shutil.ignore_patterns(MANIFEST))
    damage(target)
    return target


def shards(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint."""
    found = sorted(folder.glob("*.safetensors"))
    assert len(found) >= 2, f"{folder} has {len(found)} shards; a damaged one among several is the point"
    return found


def truncate_shard(folder: Path) -> None:
    """Half of the second shard is gone, as after a full disk."""
    shard = shards(folder)[1]
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)


def remove_shard(folder: Path) -> None:
    """The index names a shard that is not there."""
    shards(folder)[1].unlink()


Tensor = tuple[dict[str, Any], bytes]


def rewrite(folder: Path, change: Callable[[str, dict[str, Any], bytes], Tensor | None]) -> None:
    """Rewrite every safetensors file: `change(name, header entry, bytes)` gives both anew, or None to leave it out.

    Raises AssertionError where nothing was changed, for then the test would prove nothing.
    """
    changes = 0
    for shard in shards(folder):
        raw = shard.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header, body = json.loads(raw[8 : 8 + length]), raw[8 + length :]
        out: dict[str, Any] = {"__metadata__": header.pop("__metadata__", {})}
        data = b""
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            before = (entry, body[start:end])
            after = change(name, *before)
            changes += after != before
            if after is not None:
                out[name] = {**after[0], "data_offsets": [len(data), len(data) + len(after[1])]}
                data += after[1]
        head = json.dumps(out).encode()
        head += b" " * (-len(head) % 8)
        shard.write_bytes(struct.pack("<Q", len(head)) + head + data)
    assert changes, "no tensor was found to damage"


def reshape_tensor(folder: Path) -> None:
    """A matrix has half its rows, as after a merge of two models."""

    def change(name: str, entry: dict[str, Any], content: bytes) -> Tensor:
        if not name.endswith("layers.1.self_attn.o_proj.weight"):
            return entry, content
        rows, columns = entry["shape"]
        return {**entry, "shape": [rows // 2, columns]}, content[: len(content) // 2]

    rewrite(folder, change)


def pin_attention(folder: Path) -> None:
    """config.json names the attention that it was trained with, as saved by some programs; transformers takes that."""
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_attn_implementation": "eager"}))


def poison_with_nan(folder: Path) -> None:
    """Every value of the last norm is NaN in bfloat16, as after a diverged training."""

    def change(name: str, entry: dict[str, Any], content: bytes) -> Tensor:
        if not name.endswith("model.norm.weight"):
            return entry, content
        assert entry["dtype"] == "BF16"
        return entry, b"\xc0\x7f" * (len(content) // 2)

    rewrite(folder, change)


def drop_tensor(folder: Path) -> None:
    """A matrix is in no shard and in no index: transformers initialises it at random and says so in a log line."""
    dropped = "layers.1.mlp.down_proj.weight"
    rewrite(folder, lambda name, entry, content: None if name.endswith(dropped) else (entry, content))
    index = next(folder.glob("*.index.json"))
    listing = json.loads(index.read_text())
    listing["weight_map"] = {name: shard for name, shard in listing["weight_map"].items() if not name.endswith(dropped)}
    index.write_text(json.dumps(listing))


FAULTY_MODELING = '''
"""Model code that does what faulty model code does; loaded through trust_remote_code."""
import os, signal, time
from transformers import LlamaForCausalLM

class FaultyLlama(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        if config.fault == "kill-loading":
            os.kill(os.getpid(), signal.SIGKILL)
        if config.fault == "hang-loading":
            sleep_for_ever()

    def forward(self, *args, **kwargs):
        if config_fault(self) == "kill-generating":
            os.kill(os.getpid(), signal.SIGKILL)
        if config_fault(self) == "hang-generating":
            sleep_for_ever()
        if config_fault(self) == "raise-measuring" and kwargs.get("use_cache") is False:
            raise RuntimeError("the kernel for uncached decoding is not built")
        return super().forward(*args, **kwargs)

def config_fault(model):
    return model.config.fault

def sleep_for_ever():
    while True:
        time.sleep(3600)
'''


def with_faulty_code(fault: str) -> Damage:
    """Model code of the checkpoint's own that kills its process, hangs or raises."""

    def damage(folder: Path) -> None:
        (folder / "modeling_faulty.py").write_text(FAULTY_MODELING)
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {"AutoModelForCausalLM": "modeling_faulty.FaultyLlama"}
        config["fault"] = fault
        (folder / "config.json").write_text(json.dumps(config))

    return damage
