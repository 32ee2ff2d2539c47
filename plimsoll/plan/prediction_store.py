"""Keeps predictions in a folder of the cache, each under the digest of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from plimsoll.footprint.demand import Placement
from plimsoll.footprint.encoding import prediction_from_json, prediction_to_json, step_from_json, step_to_json
from plimsoll.footprint.prediction import Prediction, Subject
from plimsoll.footprint.training import StepPrediction, Training
from plimsoll.plan.prediction_keys import followed_versions, key_of, placement_data, sources, step_data, subject_data

FOLDER: Final = "predictions"
"""The folder in our cache."""

StepSubject = tuple[Training, tuple[Subject, ...]]
"""The subjects of a training step: the model, and the partner where there is one."""


class PredictionStore:
    """The predictions in one cache folder. `packages` are the versions that they depend on; None for those
    installed."""

    def __init__(self, folder: Path, packages: Mapping[str, str | None] | None = None) -> None:
        self.folder = folder / FOLDER
        self._versions = followed_versions() if packages is None else dict(packages)

    def path(self, subject: Subject) -> Path:
        """The path of a subject's prediction, whether it exists or not."""
        return self.folder / f"{self._key(subject_data(subject))}.json"

    def read(self, subject: Subject) -> Prediction | None:
        """The prediction for a subject; None where there is no valid one."""
        data = self._read(self.path(subject))
        try:
            return None if data is None else prediction_from_json(data)
        except (KeyError, TypeError, ValueError):
            return None

    def write(self, subject: Subject, prediction: Prediction) -> None:
        """Store a prediction, if the folder can be written."""
        self._write(self.path(subject), prediction_to_json(prediction))

    def read_placement(self, subject: Subject, device_map: str, memory: Sequence[int]) -> Placement | None:
        """The planner's placement; None where it is not stored."""
        data = self._read(self._placement_path(subject, device_map, memory))
        return data if data and all(isinstance(place, (str, int)) for place in data.values()) else None

    def write_placement(self, subject: Subject, device_map: str, memory: Sequence[int], placement: Placement) -> None:
        """Store a placement, if the folder can be written."""
        self._write(self._placement_path(subject, device_map, memory), placement)

    def read_step(self, what: StepSubject) -> StepPrediction | None:
        """The prediction of a training step; None where there is no valid one."""
        data = self._read(self._step_path(what))
        try:
            return None if data is None else step_from_json(data)
        except (KeyError, TypeError, ValueError):
            return None

    def write_step(self, what: StepSubject, step: StepPrediction) -> None:
        """Store the prediction of a training step, if the folder can be written."""
        self._write(self._step_path(what), step_to_json(step))

    def _step_path(self, what: StepSubject) -> Path:
        return self.folder / f"{self._key(step_data(*what))}.json"

    def _placement_path(self, subject: Subject, device_map: str, memory: Sequence[int]) -> Path:
        return self.folder / f"{self._key(placement_data(subject, device_map, memory))}.json"

    def _key(self, what: object) -> str:
        return key_of(what, self._versions, sources())

    def _read(self, path: Path) -> Mapping[str, Any] | None:
        """The content of a path; None where it is missing, or its digest does not match."""
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
            # Under a unique name first: two plans may write at once, and either may be killed.
            handle, unfinished = tempfile.mkstemp(dir=self.folder, prefix=".unfinished-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(f"{digest}\n{text}")
                Path(unfinished).replace(path)
            except OSError:
                Path(unfinished).unlink(missing_ok=True)
                raise
