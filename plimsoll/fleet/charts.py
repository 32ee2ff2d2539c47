"""One chart a metric over the nodes of a fleet, the slow ones marked; and all nodes with their GPUs at a glance.

Nodes of one product are held against each other: what another GPU is made for is no measure. A node stands by the
slowest of its GPUs. Of a fleet that is too large to draw, those that lie out and the slowest are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from plimsoll.fleet.fleet import Fleet
from plimsoll.fleet.matrix import question_of
from plimsoll.fleet.names import natural
from plimsoll.fleet.outliers import FigureKey, Outlier
from plimsoll.metrics import METRICS
from plimsoll.present.document import Bar, BarChart, Fold, Key, Paragraph, Section, Tone, faint
from plimsoll.present.scale import Scale, ratio_scale, ratio_ticks
from plimsoll.statistics.robust import quantile
from plimsoll.units import counted, format_brief, format_exact

_MOST_BARS: Final = 40
"""Nodes that a chart draws; the sentence above it tells where the others lie."""
_MIDDLE: Final = (0.05, 0.95)
"""Between these quantiles lie most GPUs; a band shows them."""
_FEWEST_FOR_A_BAND: Final = 8
_KEY: Final = Key(
    label="Key to the charts",
    marks=(
        ("like", "a node, by its slowest GPU"),
        ("open", "slower than its like by more than chance"),
        ("predicted", "median of all GPUs"),
        ("documented", "where nine of ten GPUs lie"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One figure of a GPU beside the median of its like."""

    node: str
    gpu: str
    key: FigureKey
    value: float
    middle: float
    speed: float
    """As a part of the median's: 0.9 is slower, whether a rate or a time was measured."""


def chart_section(fleet: Fleet) -> Section | None:
    """A chart for each metric and product that several nodes measured; None where there is none."""
    marked: dict[str, list[Outlier]] = {}
    for outlier in fleet.outliers.outliers:
        marked.setdefault(outlier.node, []).append(outlier)
    products = {key.product for key in fleet.figures}
    groups: dict[tuple[str, str], list[FigureKey]] = {}
    for key in fleet.figures:
        groups.setdefault((key.metric, key.product), []).append(key)
    known = list(METRICS)
    charts = [
        chart
        for (metric, product), keys in sorted(groups.items(), key=lambda item: (known.index(item[0][0]), item[0][1]))
        if (chart := _chart(metric, product if len(products) > 1 else "", keys, fleet, marked)) is not None
    ]
    if not charts:
        return None
    return Section(
        title="What was measured, node by node",
        note=counted(len(charts), "chart"),
        anchor="charts",
        fold=Fold.OPEN,
        blocks=(_KEY, *charts),
    )


def _chart(
    metric: str, product: str, keys: Sequence[FigureKey], fleet: Fleet, marked: Mapping[str, Sequence[Outlier]]
) -> Section | None:
    readings = [reading for key in keys for reading in _readings(key, fleet)]
    slowest: dict[str, _Reading] = {}
    for one in readings:
        if one.node not in slowest or one.speed < slowest[one.node].speed:
            slowest[one.node] = one
    if len(slowest) < 2:
        return None
    out = {node for node in slowest if any(_is_about(each, metric) for each in marked.get(node, ()))}
    ordered = sorted(slowest.values(), key=lambda one: (one.speed, natural(one.node)))
    shown = _shown(ordered, out)
    scale = ratio_scale(one.speed for one in shown)
    band = _band([one.speed for one in readings], scale)
    known = METRICS[metric]
    chart = BarChart(
        label=f"{known.title} of {counted(len(shown), 'node')}",
        ticks=tuple((scale.place(ratio), _share(ratio)) for ratio, _ in ratio_ticks(scale)),
        bars=tuple(_bar(one, scale, band, is_out=one.node in out) for one in shown),
        order="slowest first",
        wide=11.0,
    )
    words = f"{known.title}: {known.meaning}. Left of 100 % is slower than the median of all GPUs. Slowest first."
    if len(keys) > 1:
        words += f" Of {len(keys)} checks, the one in which a node is slowest."
    note = [*([product] if product else []), counted(len(slowest), "node")]
    note += [f"{len(out)} out of the ordinary"] if out else []
    return Section(
        title=known.title,
        level=2,
        note=", ".join(note),
        fold=Fold.OPEN,
        blocks=(Paragraph(words=faint(words + _rest(ordered, shown))), chart),
    )


def _readings(key: FigureKey, fleet: Fleet) -> Iterator[_Reading]:
    values = fleet.figures[key]
    middle = median(value.value for value in values)
    for one in values:
        ratio = one.value / middle
        speed = ratio if key.unit.endswith("/s") else 1.0 / ratio
        yield _Reading(node=one.node, gpu=one.gpu, key=key, value=one.value, middle=middle, speed=speed)


def _is_about(outlier: Outlier, metric: str) -> bool:
    """A GPU or a node that is slow over all of its figures is marked in each chart."""
    return outlier.metric is None or outlier.metric == metric


def _shown(ordered: Sequence[_Reading], out: set[str]) -> list[_Reading]:
    """The nodes that lie out, and the slowest of the others as far as there is room."""
    marked = [one.node for one in ordered if one.node in out][:_MOST_BARS]
    others = [one.node for one in ordered if one.node not in out]
    kept = {*marked, *others[: max(_MOST_BARS - len(marked), _MOST_BARS // 4)]}
    return [one for one in ordered if one.node in kept]


def _share(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"


def _rest(ordered: Sequence[_Reading], shown: Sequence[_Reading]) -> str:
    drawn = {one.node for one in shown}
    left = [one for one in ordered if one.node not in drawn]
    if not left:
        return ""
    return f" {counted(len(left), 'more node')} are not drawn: from {left[0].speed:.1%} to {left[-1].speed:.1%}."


def _band(speeds: Sequence[float], scale: Scale) -> tuple[tuple[int, int], ...]:
    if len(speeds) < _FEWEST_FOR_A_BAND:
        return ()
    low, high = (scale.place(quantile(sorted(speeds), share)) for share in _MIDDLE)
    return ((low, high),) if high > low else ()


def _bar(one: _Reading, scale: Scale, band: tuple[tuple[int, int], ...], *, is_out: bool) -> Bar:
    unit = one.key.unit
    told = f"{question_of(one.key.check)}{f' of {one.gpu}' if one.gpu else ''}: {format_exact(one.value, unit)}"
    return Bar(
        label=one.node,
        start=scale.place(1.0),
        end=scale.place(one.speed),
        text=f"{_share(one.speed)}, {format_brief(one.value, unit)}",
        exact=f"{told}; median {format_exact(one.middle, unit)}; {one.speed:.1%} of its speed",
        tone=Tone.NEAR if is_out else Tone.PLAIN,
        bands=band,
        expected=scale.place(1.0),
    )
