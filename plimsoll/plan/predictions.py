"""Predicts variants: from memory, from the predictions that ship, from a cache on disk, or by asking a host.

Predicting on the meta device takes tenths of a second for a model, and importing torch takes seconds, so predictions
are cached. A cache entry is keyed by everything that it depends on: the subject, the versions of the packages whose
code was followed, and our own sources. An entry that is unreadable or was changed counts as absent.

The caller brings a way to ask hosts: pytest's fixtures have hosts already. The commands start some when the first
prediction is missing, and share the models out over the cores, with all variants of a model in one host, which builds
it once.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TextIO, TypeVar

from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.settings import size_in_bytes
from plimsoll.errors import PlimsollError
from plimsoll.extras import why_missing
from plimsoll.footprint.demand import Demand, Placement, demand_of, is_spread
from plimsoll.footprint.encoding import prediction_to_json, step_to_json
from plimsoll.footprint.prediction import Prediction, Subject
from plimsoll.footprint.training import StepPrediction, Training
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.host.failures import HostFailure
from plimsoll.host.protocol import Predict, PredictPlacement, Request
from plimsoll.host.training import PredictStep
from plimsoll.plan.prediction_keys import placement_data, step_data
from plimsoll.plan.prediction_store import PredictionStore, StepSubject
from plimsoll.plan.shipped import IMPOSSIBLE, Shipped, write_shipped
from plimsoll.present.progress_line import WaitingLine
from plimsoll.units import counted

if TYPE_CHECKING:
    from plimsoll.host.client.process import Host, Hosts

_NEEDED: Final = ("torch", "transformers", "accelerate")
"""Modules without which no host predicts."""
_NAMED: Final = 3


def _limit(limits: Mapping[str, Any], gpu: int) -> int:
    """Bytes of a GPU that an entry lets the planner use; 0 for a GPU that its limits do not name, as in accelerate."""
    if not limits:
        return sys.maxsize
    return size_in_bytes(limits.get(str(gpu), 0)) or 0


R = TypeVar("R")
T = TypeVar("T")

_MOST_HOSTS: Final = 4


class HostPool:
    """A pool of hosts that predict, as many as threads ask at once; a context manager, which ends them. A stream is
    told that answers are waited for: the first takes as long as the import of torch."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._hosts: Hosts | None = None
        self._logs = tempfile.TemporaryDirectory(prefix="plimsoll-")
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._idle: list[Host] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._hosts is not None:
            self._hosts.close()
        self._logs.cleanup()

    def ask(self, request: Request[R]) -> R:
        """Ask a host that nobody else asks. Raises HostFailure, HostStartError, and NoStackError where torch and its
        kin are missing."""
        require_stack()
        with self._told("asking transformers"):
            host = self._free()
            try:
                return host.ask(request, deadline=DEADLINE)
            finally:
                self._idle.append(host)

    def fill(self, predictions: Predictions, variants: Sequence[Variant]) -> int:
        """Predict what is missing, on several hosts at once; returns the number. A failure, and a missing torch, are
        reported when the variant is asked for. Raises HostStartError."""
        missing = predictions.missing(variants)
        if not missing or why_no_stack():
            return 0
        shares = _shares(missing, hosts_at_once())
        with self._told(f"predicting {counted(len(missing), 'variant')} with transformers"):
            hosts = [self._start() for _ in shares]
            with ThreadPoolExecutor(max_workers=len(hosts)) as threads:
                list(threads.map(lambda host, share: _predict(host, share, predictions.keep), hosts, shares))
        self._idle += hosts
        return len(missing)

    def _told(self, what: str) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else WaitingLine(self._stream, what)

    def _free(self) -> Host:
        """A host that nobody asks, of those that there are or a new one."""
        while True:
            try:
                host = self._idle.pop()
            except IndexError:
                return self._start()
            if host.is_alive:
                return host

    def _start(self) -> Host:
        # Most plans need no host, and the import takes a tenth of their time.
        from plimsoll.host.client.process import Hosts

        with self._lock:
            self._hosts = self._hosts or Hosts()
            name = f"prediction-{next(self._numbers)}"
        return self._hosts.start(name, Path(self._logs.name) / f"{name}.log", threads=1)


def hosts_at_once() -> int:
    """The most hosts that are worth starting here."""
    return min(_MOST_HOSTS, os.cpu_count() or 1)


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


class ImpossibleStepError(PredictionError):
    """A training step means nothing for a model, or cannot be followed: asked again, a host would say the same."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"no prediction of a training step of {name}: {reason}")
        self.reason = reason


class NoStackError(PredictionError):
    """What predicts is not installed, and what ships does not have the answer."""


def why_no_stack() -> str | None:
    """What is missing to predict anything, and the command that installs it; None where all is there."""
    return why_missing("models", "predicting", _NEEDED)


def require_stack() -> None:
    """Raise NoStackError where what predicts is not installed."""
    if (missing := why_no_stack()) is not None:
        raise NoStackError(missing)


class Asker(Protocol):
    """A way to ask a host."""

    def __call__(self, request: Request[R]) -> R:
        """The reply. Raises HostFailure, HostStartError and NoStackError."""


class Predictions:
    """The predictions of one process; each is made once, and a failed one is not tried again. Shipped ones come first,
    where they are given."""

    def __init__(self, cache: Path, ask: Asker, shipped: Shipped | None = None) -> None:
        self._store = PredictionStore(cache)
        self._ask = ask
        self._shipped = shipped
        self._as_shipped = False
        self._made_here = False
        self._unmade: dict[str, str] = {}
        self._known: dict[Subject, Prediction | PredictionError] = {}
        self._placed: dict[tuple[Subject, str, tuple[int, ...]], Placement | PredictionError] = {}
        self._steps: dict[StepSubject, StepPrediction | PredictionError] = {}
        self._demands: dict[tuple[Subject, str, str], Demand] = {}

    def of(self, variant: Variant, *, experts_covered: bool | None = None) -> Prediction:
        """What a variant takes; `experts_covered` as for `Subject.of`.

        Raises PredictionError, and HostStartError where no host can be started.
        """
        subject = Subject.of(variant, experts_covered=experts_covered)
        if not self._recall(subject):
            self._known[subject] = self._predicted(variant.id, subject)
        found = self._known[subject]
        return self._whole(variant.id, found)

    def demand(self, variant: Variant) -> Demand:
        """The demand of a variant where no planner places it: deals and plans for many machines ask it often. Raises as
        `of` does."""
        key = (Subject.of(variant), str(variant.device_map), variant.tier.device)
        if key not in self._demands:
            self._demands[key] = demand_of(variant, self.of(variant))
        return self._demands[key]

    def missing(self, variants: Sequence[Variant]) -> list[Subject]:
        """The subjects without a prediction in memory or on disk, each once."""
        subjects = dict.fromkeys(Subject.of(variant) for variant in variants)
        return [subject for subject in subjects if not self._recall(subject)]

    def keep(self, subject: Subject, prediction: Prediction) -> None:
        """Store a host's prediction."""
        self._made_here = True
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
            self._placed[key] = self._find_placement(variant, subject, memory)
        placed = self._placed[key]
        return self._whole(variant.id, placed)

    def step(self, training: Training, variant: Variant, partner: Variant | None = None) -> StepPrediction:
        """What a training step of a variant takes, with a partner whose states cross a bridge into it. Raises as `of`
        does, with the mistake where such a training is impossible."""
        subjects = tuple(Subject.of(one) for one in (variant, partner) if one is not None)
        key = (training, subjects)
        if key not in self._steps:
            self._steps[key] = self._find_step(variant.id, key)
        found = self._steps[key]
        return self._whole(variant.id, found)

    def _whole(self, name: str, found: T | PredictionError) -> T:
        """What was found for a variant. Raises PredictionError for the reason why there is nothing; of a missing stack
        with the variant's name, for several share one prediction."""
        if isinstance(found, NoStackError):
            self._unmade[name] = str(found)
            raise NoStackError(f"{name}: {found}")
        if isinstance(found, PredictionError):
            raise PredictionError(str(found))
        return found

    @property
    def unmade(self) -> Mapping[str, str]:
        """What could not be predicted for want of torch and its kin, by name: why."""
        return self._unmade

    @property
    def origin(self) -> str:
        """Where the predictions that were asked for come from, for people; empty where none ships with them."""
        if not self._as_shipped or self._shipped is None:
            return ""
        stack = ", ".join(f"{name} {version}" for name, version in self._shipped.made_with.items())
        more = "; the others were predicted here" if self._made_here else ""
        return f"predictions as shipped with Plimsoll, made with {stack}{more}"

    def why_unmade(self) -> str:
        """One line on what could not be predicted, and what to install."""
        names = [*self._unmade]
        told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        return f"not predicted: {told}: {next(iter(self._unmade.values()))}"

    def origin_data(self) -> dict[str, Any]:
        """The same as JSON data."""
        made_with = self._shipped.made_with if self._as_shipped and self._shipped is not None else None
        return {"shipped": made_with, "predicted_here": self._made_here}

    def write_shipped(self, path: Path, packages: Mapping[str, str]) -> None:
        """Write all that was asked for as a file that ships; `packages` are the versions of the stack. Raises OSError,
        and PredictionError for what failed and might not fail again: the file would lack it."""
        for failed in (*self._known.values(), *self._placed.values(), *self._steps.values()):
            if isinstance(failed, PredictionError) and not isinstance(failed, ImpossibleStepError):
                raise failed
        known = {subject: one for subject, one in self._known.items() if isinstance(one, Prediction)}
        placed = [(placement_data(*key), one) for key, one in self._placed.items() if isinstance(one, Mapping)]
        steps = [(step_data(*key), _told(one)) for key, one in self._steps.items()]
        write_shipped(path, packages, {one: prediction_to_json(told) for one, told in known.items()}, (*placed, *steps))

    def _find_placement(
        self, variant: Variant, subject: Subject, memory: tuple[int, ...]
    ) -> Placement | PredictionError:
        if self._shipped and (placed := self._shipped.placement(subject, str(variant.device_map), memory)) is not None:
            self._as_shipped = True
            return placed
        found = self._store.read_placement(subject, str(variant.device_map), memory)
        self._made_here |= found is not None
        return found or self._place(variant, subject, memory)

    def _find_step(self, name: str, what: StepSubject) -> StepPrediction | PredictionError:
        if self._shipped and (step := self._shipped.step(*what)) is not None:
            self._as_shipped = True
            return ImpossibleStepError(name, step) if isinstance(step, str) else step
        found = self._store.read_step(what)
        self._made_here |= found is not None
        return found or self._step(name, what)

    def _asked(self, request: Request[R]) -> R:
        """What a host answers. Raises what `Asker` raises, of a missing stack also why what ships does not do."""
        try:
            answer = self._ask(request)
        except NoStackError as error:
            why = self._shipped.unusable if self._shipped is not None else ""
            reason = f"the predictions that ship do not count here ({why})" if why else "no prediction of it ships"
            raise NoStackError(f"{reason}, and {error}") from None
        self._made_here = True
        return answer

    def _step(self, name: str, what: StepSubject) -> StepPrediction | PredictionError:
        training, (subject, *others) = what
        request = PredictStep(subject=subject, partner=others[0] if others else None, training=training)
        try:
            step = self._asked(request)
        except NoStackError as error:
            return error
        except HostFailure as failure:
            if isinstance(failure.__cause__, PlimsollError):
                return ImpossibleStepError(name, str(failure.__cause__))
            return PredictionError(f"no prediction of a training step of {name}: {failure}")
        self._store.write_step(what, step)
        return step

    def _recall(self, subject: Subject) -> bool:
        """True where a subject's prediction is in memory, ships, or is on disk."""
        if subject in self._known:
            return True
        if self._shipped and (shipped := self._shipped.prediction(subject)) is not None:
            self._as_shipped = True
            self._known[subject] = shipped
        elif (found := self._store.read(subject)) is not None:
            self._made_here = True
            self._known[subject] = found
        return subject in self._known

    def _predicted(self, name: str, subject: Subject) -> Prediction | PredictionError:
        try:
            prediction = self._asked(Predict(subject=subject))
        except NoStackError as error:
            return error
        except HostFailure as failure:
            return PredictionError(f"the prediction for {name} failed, so it is not known what it needs:\n{failure}")
        self._store.write(subject, prediction)
        return prediction

    def _place(self, variant: Variant, subject: Subject, memory: tuple[int, ...]) -> Placement | PredictionError:
        try:
            request = PredictPlacement(subject=subject, device_map=str(variant.device_map), memory=memory)
            placement = self._asked(request)
        except NoStackError as error:
            return error
        except HostFailure as failure:
            return PredictionError(f"no placement for {variant.id}, so it is not known where it goes:\n{failure}")
        self._store.write_placement(subject, str(variant.device_map), memory, placement)
        return placement


def _told(step: StepPrediction | PredictionError) -> Mapping[str, Any]:
    """A step, or why there is none, as JSON data."""
    if isinstance(step, StepPrediction):
        return step_to_json(step)
    return {IMPOSSIBLE: step.reason if isinstance(step, ImpossibleStepError) else str(step)}
