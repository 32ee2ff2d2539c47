"""The figures that a reader asks of each variant first: memory and load time, as measured, as documents have them, as
predicted, and what cannot be.

Gathered from evidence alone. A run of before this was recorded has the limits that its measurements were held against
in place of the documents' own words, and no prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.audit.bounds import Bounds
from plimsoll.audit.recorded import recorded_bounds, recorded_claims
from plimsoll.evidence.record import Cell, CellEvidence, GateRecord, RunRecord
from plimsoll.judge.judgement import Outcome
from plimsoll.metrics import METRICS, PANELS, Place

_WORST: Final = (Outcome.FAIL, Outcome.UNSET, Outcome.MARGINAL, Outcome.PASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """A range that a document gives, in base units; None on a side that it leaves open."""

    low: float | None
    high: float | None
    source: str
    disputed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric of one variant."""

    variant: str
    metric: str
    measured: tuple[float, ...]
    """Finite values in the base unit; several where several runs or rounds measured it."""
    outcome: Outcome | None
    """The worst judgement; None where nothing was judged."""
    why: str
    """Why nothing was measured, where that is known."""
    documented: tuple[Documented, ...]
    bounds: Bounds

    @property
    def is_worth_drawing(self) -> bool:
        """True where there is a value or a range."""
        return bool(self.measured or self.documented or self.bounds.expected is not None or self.bounds.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One question to the variants of a model."""

    title: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """The panels of one model, with every variant of it that was planned."""

    model: str
    panels: tuple[Panel, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All of them, by variant."""
        return tuple(figure for panel in self.panels for figure in panel.figures)

    @property
    def is_measured(self) -> bool:
        """True where anything was."""
        return any(figure.measured for figure in self.figures)


def model_figures(record: RunRecord) -> list[ModelFigures]:
    """The figures of every model in the order of the plan."""
    models: dict[str, dict[str, None]] = {}
    known: dict[tuple[str, str], list[CellEvidence]] = {}
    for run in record.runs:
        for cell in run.plan:
            # What is asked of a variant on an imagined machine has no variant, and is no measurement of it.
            if cell.variant is not None:
                models.setdefault(cell.model or _model_of(cell), {})[cell.variant] = None
                for metric in _metrics_in(evidence := run.evidence_of(cell)):
                    known.setdefault((cell.variant, metric), []).append(evidence)
    made = (_of_model(model, tuple(variants), record.gates, known) for model, variants in models.items())
    return [model for model in made if model.panels]


def _model_of(cell: Cell) -> str:
    return (cell.variant or "").partition("/")[0]


def _metrics_in(evidence: CellEvidence) -> set[str]:
    judged = {judgement.measurement.metric for judgement in evidence.judgements}
    return judged | {measured.measurement.metric for measured in evidence.measurements}


_Known = Mapping[tuple[str, str], list[CellEvidence]]


def _of_model(model: str, variants: tuple[str, ...], gates: Mapping[str, GateRecord], known: _Known) -> ModelFigures:
    on_gpu = any(_has_vram(variant, gates.get(variant), known) for variant in variants)
    panels = (
        Panel(title=title, figures=tuple(_drawn(title, variants, gates, known)))
        for title, devices in PANELS.items()
        if ("cuda" if on_gpu else "cpu") in devices
    )
    return ModelFigures(model=model, panels=tuple(panel for panel in panels if panel.figures))


def _has_vram(variant: str, gate: GateRecord | None, known: _Known) -> bool:
    on_gpu = [name for name, metric in METRICS.items() if metric.panel and metric.place is Place.GPU]
    return any((variant, name) in known or (gate is not None and name in gate.bounds) for name in on_gpu)


def _drawn(title: str, variants: Iterable[str], gates: Mapping[str, GateRecord], known: _Known) -> Iterator[Figure]:
    """The figures of a panel that are worth drawing, by variant."""
    for variant in variants:
        for name, metric in METRICS.items():
            figure = _figure(variant, name, gates.get(variant), known) if metric.panel == title else None
            if figure is not None and figure.is_worth_drawing:
                yield figure


def _figure(variant: str, metric: str, gate: GateRecord | None, known: _Known) -> Figure:
    cells = known.get((variant, metric), [])
    judged = [j for cell in cells for j in cell.judgements if j.measurement.metric == metric]
    noted = [m.measurement for cell in cells for m in cell.measurements if m.measurement.metric == metric]
    # A figure may also be noted beside another question, where it is not the one that was judged.
    values = [j.measurement for j in judged] or noted
    outcomes = {judgement.outcome for judgement in judged}
    documented = _claimed(metric, gate) or [
        Documented(low=j.limit.low, high=j.limit.high, source=j.limit.source) for j in judged
    ]
    bounds = {} if gate is None else recorded_bounds(gate)
    return Figure(
        variant=variant,
        metric=metric,
        measured=_finite(value.value for value in values),
        outcome=next((outcome for outcome in _WORST if outcome in outcomes), None),
        why=next((value.reason for value in values if value.value is None), "") or _why_not(gate),
        documented=tuple(dict.fromkeys(documented)),
        bounds=bounds.get(metric, Bounds(basis="not recorded")),
    )


def _claimed(metric: str, gate: GateRecord | None) -> list[Documented]:
    """What documents say of a load as the suite makes it; what they say of other circumstances is another figure."""
    claims = [] if gate is None else [claim for claim, _ in recorded_claims(gate)]
    return [
        Documented(low=claim.low, high=claim.high, source=claim.source, disputed=claim.disputed is not None)
        for claim in claims
        if claim.metric == metric and not claim.conditions
    ]


def _why_not(gate: GateRecord | None) -> str:
    if gate is None or gate.decision == "run":
        return ""
    return f"skipped ({gate.code})" if gate.decision == "skip" else "not decided"


def _finite(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(dict.fromkeys(value for value in values if value is not None and math.isfinite(value)))
