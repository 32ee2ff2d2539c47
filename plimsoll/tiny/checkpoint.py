"""A checkpoint in the cache, and the examination that tells whether it is sound.

Its manifest, `plimsoll.json`, names every file with size and SHA-256. The folder must hold these files and no others:
a stray `model.safetensors` beside the shards would be what `from_pretrained` loads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from plimsoll.digests import sha256
from plimsoll.errors import reason_of

MANIFEST: Final = "plimsoll.json"

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFigures:
    """The results of a training."""

    steps: int
    seconds: float
    """Wall-clock time of training, checking and saving."""
    final_loss: float
    """Of the last step, in nats a token of an answer."""
    taught: int
    """How many questions were taught."""
    answered: int
    """How many of them were answered letter by letter, greedily, in bfloat16, before saving."""
    parameters: int
    versions: Mapping[str, str]
    """Of the libraries that took part."""

    @property
    def accuracy(self) -> float:
        """The fraction (0..1) of the taught questions that was answered."""
        return self.answered / self.taught


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """A file of a checkpoint as it was written."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyCheckpoint:
    """A sound checkpoint: every file was just compared with the manifest."""

    model: str
    path: Path
    recipe_hash: str
    files: tuple[CheckpointFile, ...]
    """All but the manifest itself."""
    figures: TrainingFigures
    built_now: bool = False
    """True where this call trained it."""

    @property
    def bytes(self) -> int:
        """Of all files but the manifest."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Why a folder is not the checkpoint that it should be."""

    path: Path
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.faults)


def write_manifest(
    path: Path, *, model: str, recipe_hash: str, recipe: Mapping[str, Any], figures: TrainingFigures
) -> None:
    """Hash the files of a folder and write its manifest. `recipe` is kept for people, the hash for comparing."""
    content = {
        "format": _FORMAT,
        "model": model,
        "recipe_hash": recipe_hash,
        "recipe": recipe,
        "training": asdict(figures),
        "files": [
            {"name": file.name, "bytes": file.stat().st_size, "sha256": sha256(file)} for file in sorted(path.iterdir())
        ],
    }
    (path / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def examine(path: Path, recipe_hash: str | None = None) -> TinyCheckpoint | Damage | None:
    """The checkpoint in a folder, with every byte compared; what is wrong with it; or None where there is nothing.

    `recipe_hash` is the recipe that it must be of; None takes any.

    All files are hashed each time: a few MB take milliseconds, and a flipped bit shows in no size.
    """
    if not path.exists():
        return None
    try:
        checkpoint = _read_manifest(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Damage(path=path, faults=(f"{MANIFEST} cannot be read ({type(error).__name__}: {error})",))
    faults = []
    if recipe_hash not in (None, checkpoint.recipe_hash):
        faults.append(f"{MANIFEST} names the recipe {checkpoint.recipe_hash:.16}, not {recipe_hash:.16}")
    for file in checkpoint.files:
        fault = _file_fault(path / file.name, file)
        if fault is not None:
            faults.append(fault)
    known = {MANIFEST, *(file.name for file in checkpoint.files)}
    strays = sorted(file.name for file in path.iterdir() if file.name not in known and not file.name.startswith("."))
    faults += [f"{name} does not belong to it" for name in strays]
    return Damage(path=path, faults=tuple(faults)) if faults else checkpoint


def _read_manifest(path: Path) -> TinyCheckpoint:
    data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if data["format"] != _FORMAT:
        raise ValueError(f"format {data['format']}, and {_FORMAT} is known")
    return TinyCheckpoint(
        model=data["model"],
        path=path,
        recipe_hash=data["recipe_hash"],
        files=tuple(CheckpointFile(**file) for file in data["files"]),
        figures=TrainingFigures(**data["training"]),
    )


def _file_fault(path: Path, file: CheckpointFile) -> str | None:
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"{file.name} has {size} bytes, not {file.bytes}"
        if sha256(path) != file.sha256:
            return f"{file.name} has other content than was written"
    except FileNotFoundError:
        return f"{file.name} is missing"
    except OSError as error:
        return f"{file.name} cannot be read ({reason_of(error)})"
    return None
