"""Judges every claim of the catalogue: confirmed, plausible, tight, refuted, impossible, or not to be judged, and
why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plimsoll.audit.bounds import Bounds, bounds_of, left_on, together
from plimsoll.audit.training import is_about_training, training_bounds
from plimsoll.catalogue.entries import Catalogue, Claim, LimitedSide, Variant, without_gpus
from plimsoll.errors import PlimsollError
from plimsoll.evidence.record import RunRecord
from plimsoll.footprint.demand import Demand, demand_of
from plimsoll.plan.predictions import Predictions
from plimsoll.units import format_value

_NEAR: Final = 0.05
"""A figure that is expected within 5 % of its high bound, or in the last 5 % of its range, is tight."""
_NEEDS_ROOM: Final = ("free_vram",)
"""Metrics whose claimed low bound means "so much is enough": the need must not exceed it."""


class Status(StrEnum):
    """The statuses of a claim."""

    CONFIRMED = "confirmed"
    """Measured, or a fact of the architecture."""
    PLAUSIBLE = "plausible"
    """The prediction is inside the claim's range; it was not measured."""
    TIGHT = "tight"
    """Possible, but the expected figure is above the claim, or only just below."""
    REFUTED = "refuted"
    """Possible, but measured otherwise."""
    IMPOSSIBLE = "impossible"
    """Arithmetic forbids it."""
    UNJUDGED = "cannot be judged"
    """Neither predicted nor measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFinding:
    """One claim about one variant, or about several together."""

    claim: Claim
    variants: tuple[str, ...]
    status: Status
    bounds: Bounds
    measured: tuple[float, ...]
    """Values from evidence, in the metric's base unit."""

    @property
    def is_honest(self) -> bool:
        """False for an impossible claim that is not disputed, and for a possible claim that is."""
        return (self.claim.disputed is not None) == (self.status is Status.IMPOSSIBLE)

    @property
    def apart(self) -> float | None:
        """How far the expected figure is outside the claim's range, as a fraction of the nearer bound; 0 inside, None
        without an expectation."""
        low, high, expected = self.claim.low, self.claim.high, self.bounds.expected
        if expected is None:
            return None
        if low and expected < low:
            return expected / low - 1
        return expected / high - 1 if high and expected > high else 0.0

    @property
    def said(self) -> str:
        """The claim's range, for people."""
        low, high = (None if b is None else format_value(b, self.claim.unit) for b in (self.claim.low, self.claim.high))
        if low is None:
            return f"at most {high}"
        return f"at least {low}" if high is None else (low if low == high else f"{low} to {high}")


class Auditor:
    """Audits a catalogue's claims, with predictions and the evidence of some runs."""

    def __init__(self, catalogue: Catalogue, predictions: Predictions, runs: Sequence[RunRecord] = ()) -> None:
        self._catalogue = catalogue
        self._predictions = predictions
        self._measured = measurements(runs)
        self._demands: dict[str, Demand | PlimsollError] = {}

    def findings(self, variants: Collection[str]) -> Iterator[AuditFinding]:
        """A finding for each claim and each of its variants among those named, in the order of the files.

        Raises HostStartError where predictions need a host and none can be started.
        """
        for claim in self._catalogue.claims:
            named = [name for name in claim.variants if name in variants]
            if claim.together:
                if named:
                    yield self._together(claim)
            else:
                yield from (self._single(claim, self._catalogue.variants[name]) for name in named)

    def _single(self, claim: Claim, variant: Variant) -> AuditFinding:
        demand = self._demand(variant)
        measured = () if claim.conditions else self._measured.get((variant.id, claim.metric), ())
        bounds = self._bounds(claim, variant, demand)
        status = judge_claim(claim, bounds, measured)
        return AuditFinding(claim=claim, variants=(variant.id,), status=status, bounds=bounds, measured=measured)

    def _bounds(self, claim: Claim, variant: Variant, demand: Demand | PlimsollError) -> Bounds:
        if isinstance(demand, PlimsollError):
            return Bounds(basis=str(demand))
        if is_about_training(claim):
            return training_bounds(claim, (variant,), self._predictions)
        profile = self._catalogue.profiles.get(str(claim.conditions.get("gpu")))
        if claim.metric == "vram_left" and profile is not None:
            return left_on(profile.memory, claim, variant, demand)
        return bounds_of(claim, variant, demand)

    def _together(self, claim: Claim) -> AuditFinding:
        variants = [self._catalogue.variants[name] for name in claim.variants]
        if is_about_training(claim):
            bounds = training_bounds(claim, tuple(variants), self._predictions)
            status = judge_claim(claim, bounds, ())
            return AuditFinding(claim=claim, variants=claim.variants, status=status, bounds=bounds, measured=())
        demands = {variant.model.id: self._demand(variant) for variant in variants}
        failed = [demand for demand in demands.values() if isinstance(demand, PlimsollError)]
        known = {name: demand for name, demand in demands.items() if isinstance(demand, Demand)}
        bounds = Bounds(basis=str(failed[0])) if failed else together(claim, known)
        status = judge_claim(claim, bounds, ())
        return AuditFinding(claim=claim, variants=claim.variants, status=status, bounds=bounds, measured=())

    def _demand(self, variant: Variant) -> Demand | PlimsollError:
        if variant.id not in self._demands:
            try:
                self._demands[variant.id] = demand_of(variant, self._predictions.of(variant))
            except PlimsollError as error:
                self._demands[variant.id] = error
        return self._demands[variant.id]


def judge_claim(claim: Claim, bounds: Bounds, measured: Sequence[float]) -> Status:
    """The finding on a claim, by its predicted bounds and by what was measured. Arithmetic comes first, since a
    measurement of something else may have the same name; then measurement, then expectation.
    """
    low, high = _sides(claim)
    if _outside(bounds, low, high):
        return Status.IMPOSSIBLE
    if measured:
        inside = all((low is None or value >= low) and (high is None or value <= high) for value in measured)
        return Status.CONFIRMED if inside else Status.REFUTED
    if bounds.exact:
        return Status.CONFIRMED
    if bounds.expected is None:
        within = high is None or (bounds.most is not None and bounds.most <= high)
        return Status.PLAUSIBLE if within and low is None else Status.UNJUDGED
    if high is not None and bounds.expected > high - _margin(low, high):
        return Status.TIGHT
    return Status.TIGHT if low is not None and bounds.expected < low else Status.PLAUSIBLE


def _margin(low: float | None, high: float) -> float:
    """The distance from the high bound below which a figure is tight; for a narrow range, only a part of it."""
    return min(_NEAR * high, _NEAR * (high - low)) if low is not None else _NEAR * high


def _sides(claim: Claim) -> tuple[float | None, float | None]:
    """The bounds that a figure must keep: a claim's limits, or both its bounds where it is only a record."""
    if claim.metric in _NEEDS_ROOM:
        return None, claim.low
    if claim.limits is LimitedSide.NONE:
        return claim.low, claim.high
    return claim.limit_low, claim.limit_high


def _outside(bounds: Bounds, low: float | None, high: float | None) -> bool:
    above = high is not None and bounds.least is not None and bounds.least > high
    below = low is not None and bounds.most is not None and bounds.most < low
    return above or below


def measurements(runs: Iterable[RunRecord]) -> Mapping[tuple[str, str], tuple[float, ...]]:
    """Measured values by variant and metric; of a copy on one of several GPUs also by its entry's variant, of which
    documents speak. Planned and predicted figures are no measurements: their checks have no variant."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for cell in run.plan:
            for measured in run.evidence_of(cell).measurements if cell.variant else ():
                value = measured.measurement.value
                if value is not None and cell.variant is not None:
                    for name in dict.fromkeys((cell.variant, without_gpus(cell.variant))):
                        found.setdefault((name, measured.measurement.metric), []).append(value)
    return {key: tuple(dict.fromkeys(values)) for key, values in found.items()}
