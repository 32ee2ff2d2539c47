"""The digest of all that a prediction depends on: its subject, the packages that were followed, and our own sources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import plimsoll.footprint
import plimsoll.host
from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.prediction import Subject
from plimsoll.footprint.training import Training

FOLLOWED: Final = ("torch", "transformers", "accelerate", "bitsandbytes")
"""The distributions whose code a prediction follows."""
_DIGITS: Final = 32


def subject_data(subject: Subject) -> object:
    """What the digest of a variant's prediction is made of, beside versions and sources."""
    return asdict(subject)


def placement_data(subject: Subject, device_map: str, memory: Sequence[int]) -> object:
    """The same of a placement on GPUs with so many bytes each."""
    return [asdict(subject), device_map, list(memory)]


def step_data(training: Training, subjects: Iterable[Subject]) -> object:
    """The same of a training step."""
    return [asdict(training), [asdict(subject) for subject in subjects]]


def key_of(what: object, versions: Mapping[str, str | None], sources: str) -> str:
    """The digest of a subject, as JSON data, with the versions of `FOLLOWED` and the digest of our sources."""
    text = json.dumps([what, versions, sources], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def followed_versions() -> dict[str, str | None]:
    """The installed versions of `FOLLOWED`; None for one that is not installed."""
    versions: dict[str, str | None] = {}
    for name in FOLLOWED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def source_files() -> list[Path]:
    """Our own modules that predict."""
    # The predictor runs in a host, which imports torch: it is found as files, and not imported here.
    server = Path(plimsoll.host.__path__[0]) / "server"
    folders = Path(plimsoll.footprint.__path__[0]), server / "predict", server / "training"
    # How often packed experts are unpacked in a pass is said where they are packed.
    return [server / "expert_packing.py", *(path for folder in folders for path in sorted(folder.glob("*.py")))]


@cache
def sources() -> str:
    """A digest of our own code that predicts, and of what the catalogue says about quantizations.

    Of the module with the entries only that counts: a subject holds all else that a prediction takes from an entry.
    """
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(path.read_bytes())
    properties = sorted(name for name, value in vars(Quantization).items() if isinstance(value, property))
    told = {one.value: {name: getattr(one, name) for name in properties} for one in Quantization}
    digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.hexdigest()
