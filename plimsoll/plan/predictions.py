"""Predictions by variant: from memory, from the cache on disk, or from a host that is asked.

Who plans brings a way to ask hosts: pytest's fixtures have hosts of their own, the commands start some when they are
needed (`host_pool`), and not at all where the cache has everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from plimsoll.catalogue.entries import Variant
from plimsoll.errors import PlimsollError
from plimsoll.footprint.demand import Placement, is_spread
from plimsoll.footprint.prediction import Prediction, Subject
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.host.failures import HostFailure
from plimsoll.host.protocol import Place, Predict, Request
from plimsoll.plan.prediction_store import PredictionStore

R = TypeVar("R")

DEADLINE: Final = 120.0
"""Seconds for one prediction; the largest models take a few tenths, and a first import a few seconds."""


class PredictionError(PlimsollError):
    """A variant could not be predicted, so it is not known what it takes."""


class Asker(Protocol):
    """A way to ask a host."""

    def __call__(self, request: Request[R]) -> R:
        """The reply. Raises HostFailure and HostStartError."""


class Predictions:
    """The predictions of one process; each is made once, and what failed is not tried again."""

    def __init__(self, cache: Path, ask: Asker) -> None:
        self._store = PredictionStore(cache)
        self._ask = ask
        self._known: dict[Subject, Prediction | PredictionError] = {}
        self._placed: dict[tuple[object, ...], Placement | PredictionError] = {}

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
        """The subjects that neither memory nor disk has, each once."""
        subjects = dict.fromkeys(Subject.of(variant) for variant in variants)
        return [subject for subject in subjects if not self._recall(subject)]

    def keep(self, subject: Subject, prediction: Prediction) -> None:
        """Remember what a host has predicted."""
        self._known[subject] = prediction
        self._store.write(subject, prediction)

    def placement(self, variant: Variant, free: Sequence[int]) -> Placement | None:
        """Where the planner puts the parts of a variant, on GPUs with so many free bytes each; None for a variant whose
        entry says it itself. Raises as `of` does."""
        if not is_spread(variant) or not free:
            return None
        memory = tuple(max(0, size - CONTEXT_ALLOWANCE) for size in free)
        subject = Subject.of(variant)
        key = (subject, str(variant.device_map), memory)
        if key not in self._placed:
            found = self._store.read_placement(subject, str(variant.device_map), memory)
            self._placed[key] = found or self._place(variant, subject, memory)
        placed = self._placed[key]
        if isinstance(placed, PredictionError):
            raise PredictionError(str(placed))
        return placed

    def _recall(self, subject: Subject) -> bool:
        """True where a subject is known, be it from disk."""
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
            placement = self._ask(Place(subject=subject, device_map=str(variant.device_map), memory=memory))
        except HostFailure as failure:
            return PredictionError(f"no placement for {variant.id}, so it is not known where it goes:\n{failure}")
        self._store.write_placement(subject, str(variant.device_map), memory, placement)
        return placement
