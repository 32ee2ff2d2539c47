"""One chart a metric of a comparison: each figure after as a ratio of before, with the interval where there is one.

A bar begins at 1, where all is as before, and ends at the ratio. Rows that a reader must act on come first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from plimsoll.compare.result import FigureRow, TimeRow, Versus
from plimsoll.compare.rule import Change, Level, Rule
from plimsoll.metrics import METRICS
from plimsoll.present.document import Bar, BarChart, Block, Fold, Key, Paragraph, Section, Tone, faint
from plimsoll.present.scale import Scale, ratio_scale, ratio_ticks
from plimsoll.statistics.interval import Interval
from plimsoll.units import counted, format_brief, format_exact

MOST_BARS: Final = 200
"""Rows of a chart; the tables have all."""
_SLIVER: Final = 3
_MICROSECONDS: Final = 1e-4
"""Seconds below which a time is told in smaller units than milliseconds."""
_WORDS: Final[Mapping[str, Tone]] = {
    Change.SLOWER: Tone.BAD,
    Level.MORE: Tone.BAD,
    Change.TOO_FEW: Tone.NEAR,
    Change.FASTER: Tone.GOOD,
    Level.LESS: Tone.GOOD,
    Change.SAME: Tone.GAP,
    Level.SAME: Tone.GAP,
}
"""What became of a row, in the order in which rows stand -> its colour."""
_ORDER: Final = list(_WORDS)
_KEY: Final = Key(
    label="Key to the charts",
    marks=(
        ("worse", "slower, or more memory"),
        ("better", "faster, or less memory"),
        ("same", "the same"),
        ("open", "too few samples to say, or another figure that changed"),
        ("documented", "interval of the ratio"),
        ("limit", "within these a change does not count"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A figure of both sides."""

    label: str
    word: str
    ratio: float
    interval: Interval | None
    before: float
    after: float
    unit: str
    said: str
    """More of it, for a pointer."""
    tone: Tone


def chart_section(versus: Versus, against: str, labels: Mapping[int, str], rule: Rule) -> Section | None:
    """A chart for each metric that both sides have; `labels` are the names of what was timed or measured, by `id`."""
    by_metric: dict[str, list[_Row]] = {}
    for time in versus.times:
        by_metric.setdefault(time.base.metric, []).append(_of_time(time, labels))
    for figure in versus.memory:
        if (row := _of_figure(figure, labels)) is not None:
            by_metric.setdefault(figure.base.metric, []).append(row)
    for figure in (*versus.speeds, *versus.figures):
        # Whether more of it is worse, nobody says.
        if figure.level is not Level.SAME and (row := _of_figure(figure, labels)) is not None:
            by_metric.setdefault(figure.base.metric, []).append(replace(row, tone=Tone.NEAR))
    if not by_metric:
        return None
    charts = [_chart(metric, rows, rule) for metric, rows in sorted(by_metric.items(), key=_urgency)]
    return Section(
        title=f"{against}: before and after",
        note=counted(len(charts), "chart"),
        fold=Fold.OPEN,
        blocks=(_KEY, *charts),
    )


def _urgency(found: tuple[str, list[_Row]]) -> tuple[int, int]:
    """Metrics with what is worse come first; the others as they are listed."""
    metric, rows = found
    known = list(METRICS)
    worst = min(_ORDER.index(row.word) for row in rows)
    return worst, known.index(metric) if metric in METRICS else -1


def _of_time(row: TimeRow, labels: Mapping[int, str]) -> _Row:
    rounds = f"{len(row.base.rounds) or '?'} and {len(row.other.rounds) or '?'} rounds"
    chance = "" if row.p_adjusted is None else f"; p {row.p_adjusted:.2g}"
    return _Row(
        label=labels[id(row.base)],
        word=row.word.value,
        tone=_WORDS[row.word],
        ratio=row.ratio,
        interval=row.interval,
        before=row.base.median,
        after=row.other.median,
        unit=row.base.unit,
        said=f"{rounds}{chance}",
    )


def _of_figure(row: FigureRow, labels: Mapping[int, str]) -> _Row | None:
    """None for what has no ratio: nothing was measured, or it was nothing before."""
    before, after = row.base.value, row.other.value
    if row.change is None or before is None or after is None or row.change <= -1.0:
        return None
    return _Row(
        label=labels[id(row.base)],
        word=row.level.value,
        tone=_WORDS[row.level],
        ratio=1.0 + row.change,
        interval=None,
        before=before,
        after=after,
        unit=row.base.unit,
        said="one value a run, so no interval",
    )


def _chart(metric: str, rows: Sequence[_Row], rule: Rule) -> Section:
    ordered = sorted(rows, key=lambda row: (_ORDER.index(row.word), -abs(math.log(row.ratio)), row.label))
    shown = ordered[:MOST_BARS]
    is_timed = any(row.interval is not None for row in shown)
    margin = 1.0 + (rule.margin if rows[0].unit != "bytes" else rule.memory_tolerance)
    scale = ratio_scale([margin, *(ratio for row in shown for ratio in _ratios(row))])
    known = METRICS.get(metric)
    title = metric if known is None else known.title
    words = f"{'' if known is None else f'{title}: {known.meaning}. '}"
    words += f"What lies right of 1 is {'slower' if is_timed else 'more'}."
    if is_timed:
        words += f" The band is its {rule.confidence:.0%} interval."
    if len(ordered) > len(shown):
        words += f" {len(ordered) - len(shown):,} more are in the table, all of them {ordered[len(shown)].word}" + (
            "." if len({row.word for row in ordered[len(shown) :]}) == 1 else " or less urgent."
        )
    chart = BarChart(
        label=f"{title} of {counted(len(shown), 'figure')}, before and after",
        ticks=tuple((scale.place(ratio), text) for ratio, text in ratio_ticks(scale)),
        bars=tuple(_bar(row, scale, margin) for row in shown),
        order="what changed first",
        ranked="most increased first",
        wide=15.0,
    )
    blocks: tuple[Block, ...] = (Paragraph(words=faint(words)), chart)
    # What is all the same unfolds for who wants to see that.
    is_news = any(_ORDER.index(row.word) < _ORDER.index(Change.SAME) for row in rows)
    return Section(title=title, level=2, note=_note(rows), fold=Fold.OPEN if is_news else Fold.CLOSED, blocks=blocks)


def _note(rows: Iterable[_Row]) -> str:
    counts = {word: sum(row.word == word for row in rows) for word in _ORDER}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _ratios(row: _Row) -> tuple[float, ...]:
    return (row.ratio,) if row.interval is None else (row.ratio, row.interval.low, row.interval.high)


def _short(value: float, unit: str) -> str:
    """A load takes seconds, but a function of another project may take nanoseconds."""
    if unit != "s" or not 0.0 < value < _MICROSECONDS:
        return format_brief(value, unit)
    name, scale = ("µs", 1e6) if value >= 1e-6 else ("ns", 1e9)
    return f"{value * scale:.3g} {name}"


def _change(row: _Row) -> float:
    """How much more the value is; the ratio of a rate is above 1 where it is slower."""
    change = (1.0 / row.ratio if row.unit.endswith("/s") else row.ratio) - 1.0
    return round(change, 3) + 0.0


def _bar(row: _Row, scale: Scale, margin: float) -> Bar:
    before, after = (_short(value, row.unit) for value in (row.before, row.after))
    exact = f"before {format_exact(row.before, row.unit)}; after {format_exact(row.after, row.unit)}"
    told = [exact, f"ratio {row.ratio:.3f}"]
    bands: tuple[tuple[int, int], ...] = ()
    if row.interval is not None:
        told.append(f"interval {row.interval.low:.3f} to {row.interval.high:.3f}")
        bands = ((scale.place(row.interval.low), scale.place(row.interval.high)),)
    return Bar(
        label=row.label,
        start=scale.place(1.0),
        # What is as before is a sliver, so that a row without an interval has something in it.
        end=scale.place(row.ratio) if scale.place(row.ratio) != scale.place(1.0) else scale.place(1.0) + _SLIVER,
        text=f"{before} → {after} ({_change(row):+.1%})",
        exact="; ".join([*told, row.said, row.word]),
        tone=row.tone,
        room=round(-row.ratio, 4),
        limits=(scale.place(1.0 / margin), scale.place(margin)),
        bands=bands,
    )
