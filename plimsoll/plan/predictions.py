"""Predicts variants: from memory, from a cache on disk, or by asking a host.

Predicting on the meta device takes tenths of a second for a model, and importing torch takes seconds, so predictions
are cached. A cache entry is keyed by everything that it depends on: the subject, the versions of the packages whose
code was followed, and our own sources. An entry that is unreadable or was changed counts as absent.

The caller brings a way to ask hosts: pytest's fixtures have hosts already. The commands start some when the first
prediction is missing, and share the models out over the cores, with all variants of a model in one host, which builds
it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import plimsoll.footprint
import plimsoll.host
from plimsoll.catalogue import entries
from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.settings import size_in_bytes
from plimsoll.errors import PlimsollError
from plimsoll.footprint.demand import Placement, is_spread
from plimsoll.footprint.encoding import prediction_from_json, prediction_to_json, step_from_json, step_to_json
from plimsoll.footprint.prediction import Prediction, Subject
from plimsoll.footprint.training import StepPrediction, Training
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.failures import HostFailure
from plimsoll.host.protocol import Predict, PredictPlacement, Request
from plimsoll.host.training import PredictStep

FOLDER: Final = "predictions"
"""The folder in our cache."""
_FOLLOWED: Final = ("torch", "transformers", "accelerate", "bitsandbytes")
_DIGITS: Final = 32


StepSubject = tuple[Training, tuple[Subject, ...]]
"""The subjects of a training step: the model, and the partner where there is one."""


class PredictionStore:
    """The predictions in one cache folder. `packages` are the versions that they depend on; None for those
    installed."""

    def __init__(self, folder: Path, packages: Mapping[str, str | None] | None = None) -> None:
        self.folder = folder / FOLDER
        self._versions = _installed() if packages is None else dict(packages)

    def path(self, subject: Subject) -> Path:
        """The path of a subject's prediction, whether it exists or not."""
        return self.folder / f"{self._key(asdict(subject))}.json"

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
        training, subjects = what
        return self.folder / f"{self._key([asdict(training), [asdict(one) for one in subjects]])}.json"

    def _placement_path(self, subject: Subject, device_map: str, memory: Sequence[int]) -> Path:
        return self.folder / f"{self._key([asdict(subject), device_map, list(memory)])}.json"

    def _key(self, what: object) -> str:
        text = json.dumps([what, self._versions, _sources()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

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
    """A digest of our own code on which predictions depend."""
    digest = hashlib.sha256()
    # The predictor runs in a host, which imports torch, so its files are found without importing it.
    server = Path(plimsoll.host.__path__[0]) / "server"
    folders = Path(plimsoll.footprint.__path__[0]), server / "predict", server / "training"
    for path in (*(path for folder in folders for path in sorted(folder.glob("*.py"))), Path(entries.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _limit(limits: Mapping[str, Any], gpu: int) -> int:
    """Bytes of a GPU that an entry lets the planner use; 0 for a GPU that its limits do not name, as in accelerate."""
    if not limits:
        return sys.maxsize
    return size_in_bytes(limits.get(str(gpu), 0)) or 0


R = TypeVar("R")

_MOST_HOSTS: Final = 4


class HostPool:
    """A pool of hosts that predict; a context manager, which ends them."""

    def __init__(self) -> None:
        self._hosts = Hosts()
        self._logs = tempfile.TemporaryDirectory(prefix="plimsoll-")
        self._host: Host | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hosts.close()
        self._logs.cleanup()

    def ask(self, request: Request[R]) -> R:
        """Ask one host. Raises HostFailure and HostStartError."""
        if self._host is None or not self._host.is_alive:
            self._host = self._start("prediction")
        return self._host.ask(request, deadline=DEADLINE)

    def fill(self, predictions: Predictions, variants: Sequence[Variant]) -> int:
        """Predict what is missing, on several hosts at once; returns the number. A failure is reported when its variant
        is asked for. Raises HostStartError."""
        missing = predictions.missing(variants)
        if not missing:
            return 0
        shares = _shares(missing, min(_MOST_HOSTS, os.cpu_count() or 1))
        hosts = [self._start(f"prediction-{number}") for number in range(len(shares))]
        self._host = self._host or hosts[0]
        with ThreadPoolExecutor(max_workers=len(hosts)) as threads:
            list(threads.map(lambda host, share: _predict(host, share, predictions.keep), hosts, shares))
        return len(missing)

    def _start(self, name: str) -> Host:
        return self._hosts.start(name, Path(self._logs.name) / f"{name}.log", threads=1)


def _predict(host: Host, subjects: Sequence[Subject], keep: Callable[..., None]) -> None:
    for subject in subjects:
        try:
            prediction = host.ask(Predict(subject=subject), deadline=DEADLINE)
        except HostFailure:
            continue
        keep(subject, prediction)


def _shares(subjects: Sequence[Subject], count: int) -> list[list[Subject]]:
    """The subjects for each host: those of one configuration stay together, and groups are dealt out in turn."""
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(subject.config_json, []).append(subject)
    shares: list[list[Subject]] = [[] for _ in range(min(count, len(groups)))]
    for number, group in enumerate(groups.values()):
        shares[number % len(shares)] += group
    return shares


DEADLINE: Final = 120.0
"""Seconds for one prediction; the largest models take a few tenths, and a first import a few seconds."""


class PredictionError(PlimsollError):
    """A variant could not be predicted, so its needs are unknown."""


class Asker(Protocol):
    """A way to ask a host."""

    def __call__(self, request: Request[R]) -> R:
        """The reply. Raises HostFailure and HostStartError."""


class Predictions:
    """The predictions of one process; each is made once, and a failed one is not tried again."""

    def __init__(self, cache: Path, ask: Asker) -> None:
        self._store = PredictionStore(cache)
        self._ask = ask
        self._known: dict[Subject, Prediction | PredictionError] = {}
        self._placed: dict[tuple[object, ...], Placement | PredictionError] = {}
        self._steps: dict[StepSubject, StepPrediction | PredictionError] = {}

    def of(self, variant: Variant, *, experts_covered: bool | None = None) -> Prediction:
        """What a variant takes; `experts_covered` as for `Subject.of`.

        Raises PredictionError, and HostStartError where no host can be started.
        """
        subject = Subject.of(variant, experts_covered=experts_covered)
        if not self._recall(subject):
            self._known[subject] = self._predicted(variant.id, subject)
        found = self._known[subject]
        if isinstance(found, PredictionError):
            raise PredictionError(str(found))
        return found

    def missing(self, variants: Sequence[Variant]) -> list[Subject]:
        """The subjects without a prediction in memory or on disk, each once."""
        subjects = dict.fromkeys(Subject.of(variant) for variant in variants)
        return [subject for subject in subjects if not self._recall(subject)]

    def keep(self, subject: Subject, prediction: Prediction) -> None:
        """Store a host's prediction."""
        self._known[subject] = prediction
        self._store.write(subject, prediction)

    def placement(self, variant: Variant, free: Sequence[int]) -> Placement | None:
        """Where the planner puts the parts of a variant, on GPUs with so many free bytes each; None where the entry
        itself decides. Raises as `of` does."""
        if not is_spread(variant) or not free:
            return None
        limits = variant.load_options.get("max_memory") or {}
        memory = tuple(
            min(max(0, size - CONTEXT_ALLOWANCE), _limit(limits, number)) for number, size in enumerate(free)
        )
        subject = Subject.of(variant)
        key = (subject, str(variant.device_map), memory)
        if key not in self._placed:
            found = self._store.read_placement(subject, str(variant.device_map), memory)
            self._placed[key] = found or self._place(variant, subject, memory)
        placed = self._placed[key]
        if isinstance(placed, PredictionError):
            raise PredictionError(str(placed))
        return placed

    def step(self, training: Training, variant: Variant, partner: Variant | None = None) -> StepPrediction:
        """What a training step of a variant takes, with a partner whose states cross a bridge into it. Raises as `of`
        does, with the mistake where such a training is impossible."""
        subjects = tuple(Subject.of(one) for one in (variant, partner) if one is not None)
        key = (training, subjects)
        if key not in self._steps:
            self._steps[key] = self._store.read_step(key) or self._step(variant.id, key)
        found = self._steps[key]
        if isinstance(found, PredictionError):
            raise PredictionError(str(found))
        return found

    def _step(self, name: str, what: StepSubject) -> StepPrediction | PredictionError:
        training, (subject, *others) = what
        request = PredictStep(subject=subject, partner=others[0] if others else None, training=training)
        try:
            step = self._ask(request)
        except HostFailure as failure:
            told = failure.__cause__ if isinstance(failure.__cause__, PlimsollError) else failure
            return PredictionError(f"no prediction of a training step of {name}: {told}")
        self._store.write_step(what, step)
        return step

    def _recall(self, subject: Subject) -> bool:
        """True where a subject's prediction is in memory or on disk."""
        if subject not in self._known and (found := self._store.read(subject)) is not None:
            self._known[subject] = found
        return subject in self._known

    def _predicted(self, name: str, subject: Subject) -> Prediction | PredictionError:
        try:
            prediction = self._ask(Predict(subject=subject))
        except HostFailure as failure:
            return PredictionError(f"the prediction for {name} failed, so it is not known what it needs:\n{failure}")
        self._store.write(subject, prediction)
        return prediction

    def _place(self, variant: Variant, subject: Subject, memory: tuple[int, ...]) -> Placement | PredictionError:
        try:
            placement = self._ask(PredictPlacement(subject=subject, device_map=str(variant.device_map), memory=memory))
        except HostFailure as failure:
            return PredictionError(f"no placement for {variant.id}, so it is not known where it goes:\n{failure}")
        self._store.write_placement(subject, str(variant.device_map), memory, placement)
        return placement
