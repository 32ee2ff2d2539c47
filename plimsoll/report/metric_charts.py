"""One chart a metric over all variants of a run, as a section of report.html: sorted, with limits, without a library.

A bar ends at the measured value; what documents say, what was predicted and where the limit lies is drawn on the same
scale. Of figures that lie far apart the scale is logarithmic, and the sentence above the chart says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeGuard

from plimsoll.evidence.record import RunRecord
from plimsoll.metrics import METRICS, PANELS
from plimsoll.present.document import (
    Bar,
    BarChart,
    Block,
    Fold,
    Key,
    Paragraph,
    Section,
    Sign,
    faint,
)
from plimsoll.present.foreign_text import one_line
from plimsoll.report.figures import brief, exact_limit, limit_text
from plimsoll.report.models import VariantFigure, metric_figures
from plimsoll.units import counted, format_exact, is_scaled, step_of

LENGTH: Final = 1000
"""Parts of a scale."""
_MANY_TIMES: Final = 30
"""From here on figures lie too far apart for a linear scale."""
_TICKS: Final = 5
_NEAR: Final = 3
"""Times the largest value, up to where a limit or a prediction stretches the scale."""
_EDGE: Final = 1.06
"""The end of a linear scale, as a multiple of what is largest on it."""
_REASON: Final = 120
"""Characters of why a variant has no bar."""
_KINDS: Final = 3
"""Limits that are named where they are not drawn."""
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_KEY: Final = Key(
    label="Key to the charts",
    marks=(
        ("measured", "measured, in the colour of its outcome"),
        ("limit", "limit that it was judged by"),
        ("documented", "what documents say"),
        ("predicted", "predicted before loading"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where a chart begins and ends, in base units; a logarithmic one never begins at 0."""

    low: float
    high: float
    is_log: bool

    def holds(self, value: float | None) -> TypeGuard[float]:
        """True for what is neither absent nor off the scale."""
        return value is not None and self.low <= value <= self.high

    def place(self, value: float) -> int:
        """The place of a value, within the scale."""
        if self.is_log:
            part = (math.log(max(value, self.low)) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(LENGTH * min(max(part, 0.0), 1.0))


def chart_section(record: RunRecord) -> Section | None:
    """A chart for each metric that was measured of a variant; memory and load time stand open, the others fold away."""
    found = metric_figures(record)
    charts = [section for metric, figures in found.items() if (section := _chart(metric, figures)) is not None]
    if not charts:
        return None
    panels = list(PANELS)
    first = sorted(
        (chart for chart in charts if chart.fold is Fold.OPEN),
        key=lambda chart: panels.index(METRICS[chart.anchor.removeprefix("metric-")].panel or ""),
    )
    rest = [chart for chart in charts if chart.fold is not Fold.OPEN]
    return Section(
        title="What was measured, variant by variant",
        note=counted(len(charts), "chart"),
        fold=Fold.OPEN,
        blocks=(_KEY, *first, *rest),
    )


def _chart(metric: str, figures: Sequence[VariantFigure]) -> Section | None:
    measured = [figure for figure in figures if figure.measured]
    if not measured:
        return None
    known = METRICS[metric]
    scale = scale_of(measured)
    ordered = sorted(measured, key=lambda figure: (-(figure.shown or 0.0), figure.variant))
    words = f"{known.title}: {known.meaning}. Largest first."
    if scale.is_log:
        words += " The scale is logarithmic: each line is a multiple of the one before."
    words += _off_the_scale(measured, scale)
    blocks: list[Block] = [
        Paragraph(words=faint(words)),
        BarChart(
            label=f"{known.title} of {counted(len(ordered), 'variant')}",
            ticks=tuple((scale.place(value), text) for value, text in ticks(scale, metric)),
            bars=tuple(_bar(figure, scale) for figure in ordered),
        ),
    ]
    if missing := _missing(figures):
        blocks.append(Paragraph(words=faint(missing)))
    return Section(
        title=known.title,
        level=2,
        note=_note(measured),
        anchor=f"metric-{metric}",
        fold=Fold.OPEN if known.panel in PANELS else Fold.CLOSED,
        blocks=tuple(blocks),
    )


def _off_the_scale(figures: Iterable[VariantFigure], scale: Scale) -> str:
    """The limits that are not drawn, since they lie too far from what was measured."""
    judged = [figure.judgement for figure in figures if figure.judgement is not None]
    far = [
        limit_text(one.limit)
        for one in judged
        if not any(scale.holds(bound) for bound in (one.limit.low, one.limit.high))
    ]
    if not far:
        return ""
    kinds = list(dict.fromkeys(far))
    more = f" and {len(kinds) - _KINDS} others" if len(kinds) > _KINDS else ""
    return f" Limits too far off to be drawn: {', '.join(kinds[:_KINDS])}{more}."


def _note(measured: Sequence[VariantFigure]) -> str:
    bad = sum(figure.outcome is not None and not figure.outcome.is_good for figure in measured)
    return counted(len(measured), "variant") + (f", {bad} outside of the limit" if bad else "")


def _missing(figures: Iterable[VariantFigure]) -> str:
    """How many variants have no bar, by the reason."""
    why = Counter(figure.why or "nothing was reported" for figure in figures if not figure.measured)
    told = [f"{counted(count, 'variant')}: {one_line(reason, _REASON)}" for reason, count in why.most_common()]
    return f"Not measured: {'; '.join(told)}." if told else ""


def _bar(figure: VariantFigure, scale: Scale) -> Bar:
    value, judgement = figure.shown or 0.0, figure.judgement
    bounds = () if judgement is None else (judgement.limit.low, judgement.limit.high)
    documented = {(said.low, said.high) for said in figure.documented if not said.disputed}
    bands = {
        (scale.place(scale.low if low is None else low), scale.place(scale.high if high is None else high))
        for low, high in documented
        if judgement is None or (low, high) != (judgement.limit.low, judgement.limit.high)
    }
    expected = figure.bounds.expected
    return Bar(
        label=figure.variant,
        end=scale.place(value),
        text=brief(value, figure.metric),
        exact=_exact(figure, value),
        sign=None if figure.outcome is None else Sign(outcome=figure.outcome.value),
        room=None if judgement is None or judgement.headroom is None else round(judgement.headroom, 4),
        limits=tuple(dict.fromkeys(scale.place(bound) for bound in bounds if scale.holds(bound))),
        bands=tuple(sorted(band for band in bands if band[1] > band[0])),
        expected=scale.place(expected) if scale.holds(expected) else None,
    )


def _exact(figure: VariantFigure, value: float) -> str:
    unit, judgement = METRICS[figure.metric].unit, figure.judgement
    told = [format_exact(value, unit)]
    if others := [one for one in figure.measured if one != value]:
        told.append(f"also {', '.join(brief(one, figure.metric) for one in others)}")
    if judgement is not None:
        room = f", {judgement.room}" if judgement.room else ""
        told.append(f"limit {exact_limit(judgement.limit)}{room} [{judgement.limit.source}]")
    if figure.bounds.expected is not None:
        told.append(f"predicted {brief(figure.bounds.expected, figure.metric)}")
    return "; ".join(told)


def scale_of(figures: Sequence[VariantFigure]) -> Scale:
    """The scale on which every measured value has a place, and limits and predictions that lie near: one that lies far
    from all that was measured would press the values together. It is logarithmic where values lie far apart."""
    values = [value for figure in figures for value in figure.measured]
    positive = [value for value in values if value > 0]
    if len(positive) == len(values) and max(values) > _MANY_TIMES * min(values):
        near = [one for one in _beside(figures) if min(values) / _NEAR <= one <= max(values) * _NEAR]
        return Scale(low=_power(min([*values, *near]) * 0.999), high=max([*values, *near]) * 1.5, is_log=True)
    largest = max(map(abs, values))
    told = [*values, *(one for one in _beside(figures) if abs(one) <= _NEAR * largest or not largest), 0.0]
    low, high = min(told) * _EDGE, max(told) * _EDGE
    return Scale(low=low, high=high if high > low else low + 1.0, is_log=False)


def _beside(figures: Iterable[VariantFigure]) -> list[float]:
    found = chain.from_iterable(
        (
            figure.bounds.expected,
            *(() if figure.judgement is None else (figure.judgement.limit.low, figure.judgement.limit.high)),
        )
        for figure in figures
    )
    return [value for value in found if value is not None and math.isfinite(value)]


def _power_text(power: int, metric: str) -> str:
    """Whole minutes and hours are no powers of ten."""
    is_long = METRICS[metric].unit == "s" and power > 0
    return f"{10**power:,} s" if is_long else _tick_text(10.0**power, metric)


def _tick_text(value: float, metric: str) -> str:
    """Without a unit that is the same on the whole scale: the values beside the bars have it."""
    unit = METRICS[metric].unit
    return brief(value, metric) if is_scaled(unit) else brief(value, metric).removesuffix(f" {unit}")


def _power(value: float) -> float:
    return float(10.0 ** math.floor(math.log10(value)))


def ticks(scale: Scale, metric: str) -> list[tuple[float, str]]:
    """Round values of the scale with what is written there."""
    if scale.is_log:
        powers = range(math.ceil(math.log10(scale.low)), math.floor(math.log10(scale.high)) + 1)
        every = max(1, math.ceil(len(powers) / (_TICKS + 1)))
        return [(10.0**power, _power_text(power, metric)) for power in powers[::every]]
    unit = step_of(max(abs(scale.low), abs(scale.high)), METRICS[metric].unit)[1]
    span = (scale.high - scale.low) / unit
    rough = span / _TICKS
    step = next(s for s in _STEPS if s * _power(rough) >= rough) * _power(rough) * unit
    first = math.ceil(scale.low / step)
    return [(n * step, _tick_text(n * step, metric)) for n in range(first, math.floor(scale.high / step) + 1)]
