"""One chart a metric over all variants of a run, as a section of report.html: sorted, with limits, without a library.

A bar ends at the measured value; what documents say, what was predicted and where the limit lies is drawn on the same
scale. Of figures that lie far apart the scale is logarithmic, and the sentence above the chart says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.judge.judgement import Limit
from plimsoll.metrics import METRICS, PANELS
from plimsoll.present.document import (
    Bar,
    BarChart,
    Block,
    Fold,
    Inline,
    Key,
    Paragraph,
    Section,
    Sign,
    faint,
    strong,
)
from plimsoll.present.foreign_text import one_line
from plimsoll.present.scale import Scale, scale_of, ticks
from plimsoll.report.figures import brief, exact_limit, limit_text
from plimsoll.report.models import VariantFigure, metric_figures
from plimsoll.units import counted, format_exact, is_scaled

_REASON: Final = 120
"""Characters of why a variant has no bar."""
_WIDE: Final = 0.62
"""A letter's width, in parts of its height."""
_LEAST_WIDE: Final = 7.5
"""The same room for the values of most charts, so that their bars begin and end below each other."""
_SEVERAL: Final = 3
"""Variants from which on equal figures are one sentence."""
_KINDS: Final = 3
"""Limits that are named where they are not drawn."""
_KEY: Final = Key(
    label="Key to the charts",
    marks=(
        ("measured", "measured, in the colour of its outcome"),
        ("limit", "limit that it was judged by"),
        ("documented", "what documents say"),
        ("predicted", "predicted before loading"),
    ),
)


def chart_section(record: RunRecord) -> Section | None:
    """A chart for each metric that was measured of a variant; memory and load time stand open, the others fold away.
    Last come those that are the same of all variants, in a sentence each."""
    found = {
        metric: figures for metric, figures in metric_figures(record).items() if any(one.measured for one in figures)
    }
    if not found:
        return None
    alike = [metric for metric, figures in found.items() if _are_alike(figures)]
    panels = {panel: place for place, panel in enumerate(PANELS)}

    def place(metric: str) -> tuple[bool, int]:
        return metric in alike, panels.get(METRICS[metric].panel or "", len(panels))

    return Section(
        title="What was measured, variant by variant",
        note=counted(len(found), "figure"),
        fold=Fold.OPEN,
        blocks=(_KEY, *(_chart(metric, found[metric], metric in alike) for metric in sorted(found, key=place))),
    )


def _chart(metric: str, figures: Sequence[VariantFigure], alike: bool) -> Section:
    measured = [figure for figure in figures if figure.measured]
    known = METRICS[metric]
    blocks: list[Block] = [_alike(measured)] if alike else _bars_of(measured)
    if missing := _missing(figures):
        blocks.append(Paragraph(words=faint(missing)))
    return Section(
        title=known.title,
        level=2,
        note=_note(measured),
        anchor=f"metric-{metric}",
        fold=Fold.OPEN if alike or known.panel in PANELS else Fold.CLOSED,
        blocks=tuple(blocks),
    )


def _are_alike(figures: Iterable[VariantFigure]) -> bool:
    """Whether a chart would say the same of each: equal bars take a third of a page, and show nothing."""
    measured = [figure for figure in figures if figure.measured]
    shown = {(brief(figure.shown or 0.0, figure.metric), figure.outcome) for figure in measured}
    told_alone = any(figure.outcome is not None and not figure.outcome.is_good for figure in measured)
    return len(measured) >= _SEVERAL and len(shown) == 1 and not told_alone


def _alike(measured: Sequence[VariantFigure]) -> Paragraph:
    """One sentence in place of equal bars."""
    first, known = measured[0], METRICS[measured[0].metric]
    words: list[Inline] = [faint(f"{known.title}: {known.meaning}."), " "]
    if first.outcome is not None:
        words += [Sign(outcome=first.outcome.value), " "]
    words += [strong(brief(first.shown or 0.0, first.metric)), " each"]
    if kinds := _kinds(figure.judgement.limit for figure in measured if figure.judgement is not None):
        words.append(f"; judged by: {kinds}")
    return Paragraph(words=(*words, "."))


def _bars_of(measured: Sequence[VariantFigure]) -> list[Block]:
    """What the chart shows, in words, and the chart."""
    known = METRICS[measured[0].metric]
    scale = scale_for(measured)
    ordered = sorted(measured, key=lambda figure: (-(figure.shown or 0.0), figure.variant))
    words = f"{known.title}: {known.meaning}. Largest first."
    if scale.is_log:
        words += " The scale is logarithmic: each line is a multiple of the one before."
    words += _off_the_scale(measured, scale)
    bars = tuple(_bar(figure, scale) for figure in ordered)
    chart = BarChart(
        label=f"{known.title} of {counted(len(ordered), 'variant')}",
        ticks=tuple((scale.place(value), text) for value, text in ticks_of(scale, known.name)),
        bars=bars,
        wide=max(_LEAST_WIDE, _WIDE * (2 + max(len(bar.text) for bar in bars))),
    )
    return [Paragraph(words=faint(words)), chart]


def _off_the_scale(figures: Iterable[VariantFigure], scale: Scale) -> str:
    """The limits that are not drawn, since they lie too far from what was measured."""
    limits = [figure.judgement.limit for figure in figures if figure.judgement is not None]
    far = _kinds(one for one in limits if not any(scale.holds(bound) for bound in (one.low, one.high)))
    return f" Limits too far off to be drawn: {far}." if far else ""


def _kinds(limits: Iterable[Limit]) -> str:
    """Limits, each kind once and not too many; empty where there are none."""
    kinds = list(dict.fromkeys(map(limit_text, limits)))
    more = f" and {counted(len(kinds) - _KINDS, 'other')}" if len(kinds) > _KINDS else ""
    return f"{', '.join(kinds[:_KINDS])}{more}"


def _note(measured: Sequence[VariantFigure]) -> str:
    bad = sum(figure.outcome is not None and not figure.outcome.is_good for figure in measured)
    return counted(len(measured), "variant") + (f", {bad} outside of the limit" if bad else "")


def _missing(figures: Iterable[VariantFigure]) -> str:
    """How many variants have no bar, by the reason."""
    why = Counter(figure.why or "no report arrived" for figure in figures if not figure.measured)
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
        start=0 if scale.is_log else scale.place(0.0),
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


def scale_for(figures: Sequence[VariantFigure]) -> Scale:
    """The scale of a chart: by what was measured, and by limits and predictions that lie near."""
    return scale_of([value for figure in figures for value in figure.measured], _beside(figures))


def _beside(figures: Iterable[VariantFigure]) -> list[float]:
    found = chain.from_iterable(
        (
            figure.bounds.expected,
            *(() if figure.judgement is None else (figure.judgement.limit.low, figure.judgement.limit.high)),
        )
        for figure in figures
    )
    return [value for value in found if value is not None]


def ticks_of(scale: Scale, metric: str) -> list[tuple[float, str]]:
    """Round values of the scale with what is written there, without a unit that is the same on the whole scale: the
    values beside the bars have it."""
    unit = METRICS[metric].unit

    def text(value: float) -> str:
        return brief(value, metric) if is_scaled(unit) else brief(value, metric).removesuffix(f" {unit}")

    return ticks(scale, unit, text)
