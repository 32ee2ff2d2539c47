"""The figures of each variant: as measured, documented and predicted, and what cannot be; and the section of
report.html that has those which a reader asks first, memory and load time, as a table for each model.

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
from plimsoll.judge.judgement import Judgement, Limit, Outcome
from plimsoll.metrics import METRICS, PANELS, Place
from plimsoll.present.document import (
    BREAK,
    Fold,
    Inline,
    Section,
    Sign,
    Span,
    Table,
    Words,
    columns,
    faint,
)
from plimsoll.report.figures import brief_figure, exact_limit, limit_text
from plimsoll.units import counted

_WORST: Final = (Outcome.FAIL, Outcome.UNSET, Outcome.MARGINAL, Outcome.PASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Documented:
    """A range that a document gives, in base units; None on a side that it leaves open."""

    low: float | None
    high: float | None
    source: str
    disputed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFigure:
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
    judgement: Judgement | None = None
    """The worst one."""

    @property
    def shown(self) -> float | None:
        """The value that was judged worst, else the last one; None where nothing was measured."""
        judged = None if self.judgement is None else self.judgement.measurement.value
        return judged if judged in self.measured else next(iter(self.measured[-1:]), None)

    @property
    def is_worth_drawing(self) -> bool:
        """True where there is a value or a range."""
        return bool(self.measured or self.documented or self.bounds.expected is not None or self.bounds.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One question to the variants of a model."""

    title: str
    figures: tuple[VariantFigure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """The panels of one model, with every variant of it that was planned."""

    model: str
    panels: tuple[Panel, ...]

    @property
    def figures(self) -> tuple[VariantFigure, ...]:
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


def metric_figures(record: RunRecord) -> dict[str, list[VariantFigure]]:
    """The figures of every metric that a check of some variant measured or judged, by metric, with each variant in the
    order of the plan."""
    known: dict[tuple[str, str], list[CellEvidence]] = {}
    for run in record.runs:
        for cell in run.plan:
            if cell.variant is not None:
                evidence = run.evidence_of(cell)
                for metric in {*cell.measures, *_metrics_in(evidence)} & METRICS.keys():
                    known.setdefault((cell.variant, metric), []).append(evidence)
    found: dict[str, list[VariantFigure]] = {}
    for variant, metric in known:
        found.setdefault(metric, []).append(_figure(variant, metric, record.gates.get(variant), known))
    return {metric: found[metric] for metric in METRICS if metric in found}


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


def _drawn(
    title: str, variants: Iterable[str], gates: Mapping[str, GateRecord], known: _Known
) -> Iterator[VariantFigure]:
    """The figures of a panel that are worth drawing, by variant."""
    for variant in variants:
        for name, metric in METRICS.items():
            figure = _figure(variant, name, gates.get(variant), known) if metric.panel == title else None
            if figure is not None and figure.is_worth_drawing:
                yield figure


def _figure(variant: str, metric: str, gate: GateRecord | None, known: _Known) -> VariantFigure:
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
    return VariantFigure(
        variant=variant,
        metric=metric,
        measured=_finite(value.value for value in values),
        outcome=next((outcome for outcome in _WORST if outcome in outcomes), None),
        why=next((value.reason for value in values if value.value is None), "") or _why_not(gate),
        documented=tuple(dict.fromkeys(documented)),
        bounds=bounds.get(metric, Bounds(basis="not recorded")),
        judgement=min(judged, key=lambda one: _WORST.index(one.outcome), default=None),
    )


def _claimed(metric: str, gate: GateRecord | None) -> list[Documented]:
    """What documents say of a load as the suite makes it; what they say of other circumstances is another figure."""
    claims = [] if gate is None else [claim for claim, _ in recorded_claims(gate, metric)]
    return [
        Documented(low=claim.low, high=claim.high, source=claim.source, disputed=claim.disputed is not None)
        for claim in claims
        if not claim.conditions
    ]


def _why_not(gate: GateRecord | None) -> str:
    if gate is None or gate.decision == "run":
        return ""
    return f"skipped ({gate.code})" if gate.decision == "skip" else "not decided"


def _finite(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(dict.fromkeys(value for value in values if value is not None and math.isfinite(value)))


_HEAD: Final = columns("Variant", "Figure", "Measured", "Documented", "Predicted", "Impossible")


def model_section(record: RunRecord) -> Section | None:
    """Every model of the plan as a table that unfolds; those that something was measured of come first."""
    models = model_figures(record)
    if not models:
        return None
    shown = sorted(models, key=lambda model: not model.is_measured)
    return Section(
        title="Memory and load time, by model",
        note=counted(len(models), "model"),
        anchor="by-model",
        fold=Fold.CLOSED,
        blocks=tuple(map(_model, shown)),
    )


def _model(model: ModelFigures) -> Section:
    table = Table(label=f"Figures of {model.model}", columns=_HEAD, rows=tuple(map(_row, model.figures)))
    note = counted(len({figure.variant for figure in model.figures}), "variant")
    return Section(
        title=model.model,
        level=2,
        note=note if model.is_measured else f"{note}, nothing measured",
        fold=Fold.CLOSED,
        blocks=(table,),
    )


def _row(figure: VariantFigure) -> tuple[Words, ...]:
    outcome = () if figure.outcome is None else (Sign(outcome=figure.outcome.value), " ")
    documented = [part for said in figure.documented for part in _documented(said, figure.metric)]
    return (
        figure.variant,
        Span(text=METRICS[figure.metric].title, title=figure.metric),
        (*outcome, *_measured(figure)),
        tuple(documented[1:]) or "–",
        _predicted(figure),
        _impossible(figure),
    )


def _measured(figure: VariantFigure) -> tuple[Inline, ...]:
    if not figure.measured:
        return (f"not measured: {figure.why}" if figure.why else "not measured",)
    parts = [part for value in figure.measured for part in (", ", brief_figure(value, figure.metric))]
    return tuple(parts[1:])


def _documented(said: Documented, metric: str) -> tuple[Inline, ...]:
    """A line of its own; none where no bound is given."""
    if said.low is None and said.high is None:
        return ()
    limit = Limit(metric=metric, low=said.low, high=said.high, source="document")
    bounds = Span(text=limit_text(limit), title=exact_limit(limit))
    return (BREAK, bounds, f"{', disputed' if said.disputed else ''} ", faint(said.source))


def _predicted(figure: VariantFigure) -> Words:
    expected = figure.bounds.expected
    if expected is None:
        return f"no figure: {figure.bounds.basis}"
    return (brief_figure(expected, figure.metric), f": {figure.bounds.basis}")


def _impossible(figure: VariantFigure) -> Words:
    bounds = figure.bounds
    told: list[Inline] = ["below ", brief_figure(bounds.least, figure.metric)] if bounds.least else []
    if bounds.most is not None:
        told += [", above " if told else "above ", brief_figure(bounds.most, figure.metric)]
    return tuple(told) or "–"
