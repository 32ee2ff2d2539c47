"""Predictions on disk, so that a plan does not build a hundred models on the meta device each time.

An entry belongs to everything that it depends on: the subject, the versions of the packages whose code was followed,
and our own sources. What cannot be read, or is not what was written, counts as absent; what cannot be written is not
kept, and nothing else changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import plimsoll.footprint
import plimsoll.host
from plimsoll.catalogue import entries
from plimsoll.footprint.demand import Placement
from plimsoll.footprint.encoding import prediction_from_json, prediction_to_json
from plimsoll.footprint.prediction import Prediction, Subject

FOLDER: Final = "predictions"
"""In our cache folder."""
_FOLLOWED: Final = ("torch", "transformers", "accelerate", "bitsandbytes")
_DIGITS: Final = 32


class PredictionStore:
    """The predictions in one cache folder. `packages` are the versions they depend on; None for those installed."""

    def __init__(self, folder: Path, packages: Mapping[str, str | None] | None = None) -> None:
        self.folder = folder / FOLDER
        self._versions = _installed() if packages is None else dict(packages)

    def path(self, subject: Subject) -> Path:
        """Where the prediction for a subject is kept, whether it is there or not."""
        return self.folder / f"{self._key(asdict(subject))}.json"

    def read(self, subject: Subject) -> Prediction | None:
        """The prediction for a subject; None where there is none that is whole."""
        data = self._read(self.path(subject))
        try:
            return None if data is None else prediction_from_json(data)
        except (KeyError, TypeError, ValueError):
            return None

    def write(self, subject: Subject, prediction: Prediction) -> None:
        """Keep a prediction, where the folder can be written to."""
        self._write(self.path(subject), prediction_to_json(prediction))

    def read_placement(self, subject: Subject, device_map: str, memory: Sequence[int]) -> Placement | None:
        """Where the planner put the parts; None where that is not known."""
        data = self._read(self._placement_path(subject, device_map, memory))
        return data if data and all(isinstance(place, (str, int)) for place in data.values()) else None

    def write_placement(self, subject: Subject, device_map: str, memory: Sequence[int], placement: Placement) -> None:
        """Keep a placement, where the folder can be written to."""
        self._write(self._placement_path(subject, device_map, memory), placement)

    def _placement_path(self, subject: Subject, device_map: str, memory: Sequence[int]) -> Path:
        return self.folder / f"{self._key([asdict(subject), device_map, list(memory)])}.json"

    def _key(self, what: object) -> str:
        text = json.dumps([what, self._versions, _sources()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

    def _read(self, path: Path) -> Mapping[str, Any] | None:
        """What was written to a path; None where its digest does not fit, or there is nothing."""
        try:
            digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        except (OSError, UnicodeDecodeError):
            return None
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None
        data = json.loads(text)
        return data if isinstance(data, dict) else None

    def _write(self, path: Path, data: Mapping[str, Any]) -> None:
        text = json.dumps(data, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            # Under a name of its own first: two plans may write at once, and either may be killed.
            handle, unfinished = tempfile.mkstemp(dir=self.folder, prefix=".unfinished-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(f"{digest}\n{text}")
                Path(unfinished).replace(path)
            except OSError:
                Path(unfinished).unlink(missing_ok=True)
                raise


def _installed() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in _FOLLOWED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@cache
def _sources() -> str:
    """A digest of our own code that predicts, and of what it says about quantizations."""
    digest = hashlib.sha256()
    # The predictor runs in a host, which imports torch: it is found as files, and not imported here.
    folders = Path(plimsoll.footprint.__path__[0]), Path(plimsoll.host.__path__[0]) / "server" / "predict"
    for path in (*(path for folder in folders for path in sorted(folder.glob("*.py"))), Path(entries.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
