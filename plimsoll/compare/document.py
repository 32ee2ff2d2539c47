"""A comparison as a document: what the terminal, the Markdown file and the page all show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from string import ascii_uppercase
from typing import Final

from plimsoll.compare.charts import chart_section
from plimsoll.compare.fail_on import Breach
from plimsoll.compare.result import Absent, Comparison, FigureRow, OutcomeChange, TimeRow, Versus
from plimsoll.compare.rule import MOST_ROUNDS, Change, Level, Rule
from plimsoll.compare.side import Side, SideFigure, Timed
from plimsoll.present.document import (
    Banner,
    Bullets,
    Cell,
    Document,
    Fold,
    Section,
    Span,
    Tone,
    section_of,
    strong,
    table_of,
)
from plimsoll.units import counted, format_value
from plimsoll.verdict.cells import cause_of

ORDER: Final = (Change.SLOWER, Change.FASTER, Change.TOO_FEW, Change.SAME)
"""In which the words stand: what a reader must act on comes first."""

_NONE: Final = "-"
_SHORT: Final = 0.1
"""Seconds below which a time is printed in smaller units."""


_TONES: Final[dict[str, Tone]] = {
    Change.SLOWER: Tone.BAD,
    Change.FASTER: Tone.GOOD,
    Change.TOO_FEW: Tone.NEAR,
    Level.MORE: Tone.BAD,
    Level.LESS: Tone.GOOD,
}

_VERDICT_TONES: Final = {"ACCEPTED": Tone.GOOD, "REJECTED": Tone.BAD, "INCOMPLETE": Tone.NEAR}


def document(comparison: Comparison, found: Sequence[Breach] = (), *, on_page: bool = False) -> Document:
    """Everything that people read of a comparison: a statement for each side, then what differs between the machines.

    `found` is what was found of `--fail-on`; a page has charts too.
    """
    letters = {id(side): letter(i) for i, side in enumerate((*comparison.sides, *comparison.likes))}
    sections = [_sides(comparison, letters), _machines(comparison, letters)]
    for versus in comparison.versus:
        against = f"{letters[id(versus.other)]} against {letters[id(versus.base)]}"
        charts = chart_section(versus, against, _all_labels(versus), comparison.rule) if on_page else None
        sections += [_verdicts(versus, against, on_page=on_page), _numerics(versus, against)]
        sections += [charts] if charts is not None else []
        sections += _versus_sections(versus, against, comparison.rule)
    sections.append(section_of("How it was decided", _method(comparison)))
    return Document(
        title="Comparison",
        blocks=(_statement(comparison, found, on_page=on_page), *(section for section in sections if section.blocks)),
    )


def _statement(comparison: Comparison, found: Sequence[Breach], *, on_page: bool) -> Banner:
    worst = next((versus for versus in comparison.versus if versus.verdict_is_worse), comparison.versus[0])
    was, became = worst.base.verdict, worst.other.verdict
    tone = _VERDICT_TONES.get(became or "", Tone.GAP)
    title = f"{worst.other.name} against {worst.base.name}"
    word = "" if not (was and became) else became if was == became else f"{was} → {became}"
    failed = tuple((strong(f"fails on {finding.condition}"), f": {finding.text}") for finding in found)
    return Banner(
        tone=Tone.BAD if found else tone,
        word=word if on_page else "",
        title=title if on_page and word else "",
        blocks=(
            Bullets(entries=tuple(statement(versus) for versus in comparison.versus)),
            *([Bullets(entries=failed)] if failed else []),
        ),
    )


def letter(index: int) -> str:
    """The letter of a side; after Z they are numbered."""
    return ascii_uppercase[index] if index < len(ascii_uppercase) else f"Z{index}"


def statement(versus: Versus) -> str:
    """What became of one side against the base, in one line."""
    words = versus.words
    times = ", ".join(f"{words[word]} {word}" for word in ORDER if words[word]) or "none in common"
    worse = sum(change.is_worse for change in versus.outcomes)
    parts = [f"times: {times}", f"memory: {_levels(versus.memory)}"]
    parts += [f"{counted(worse, 'outcome')} lost"] if worse else []
    parts += [f"numerics: {counted(len(versus.numerics), 'check')} with other bits"] if versus.numerics else []
    parts += [f"{len(versus.missing)} missing"] if versus.missing else []
    parts += [f"{len(versus.mismatched)} not comparable"] if versus.mismatched else []
    if versus.base.verdict != versus.other.verdict and versus.base.verdict and versus.other.verdict:
        parts.append(f"verdict: {versus.base.verdict} became {versus.other.verdict}")
    return f"{versus.other.name} against {versus.base.name}: {'; '.join(parts)}"


def _levels(rows: Sequence[FigureRow]) -> str:
    counts = Counter(row.level for row in rows)
    return ", ".join(f"{counts[level]} {level}" for level in Level if counts[level]) or "none in common"


def _sides(comparison: Comparison, letters: dict[int, str]) -> Section:
    rows = [_side_row(side, letters[id(side)], "" if i else "base") for i, side in enumerate(comparison.sides)]
    rows += [_side_row(side, letters[id(side)], "like the base") for side in comparison.likes]
    notes = [f"{letters[id(s)]}: {note}" for s in (*comparison.sides, *comparison.likes) for note in s.notes]
    return section_of("Compared", notes, table_of(("", "name", "from", "verdict", "", "times"), rows, 5))


def _side_row(side: Side, name: str, part: str) -> tuple[str, ...]:
    return (name, side.name, side.kind.value, side.verdict or _NONE, part, str(len(side.timed)))


def _machines(comparison: Comparison, letters: dict[int, str]) -> Section:
    forced = [f"compared all the same, though {reason}" for versus in comparison.versus for reason in versus.unlike]
    sides = (*comparison.sides, *comparison.likes)
    rows = [(difference.label, *difference.texts) for difference in comparison.differences]
    head = ("", *(letters[id(side)] for side in sides))
    lines = [*forced, *([] if rows else ["nothing that was recorded"])]
    return section_of("What differs between the machines and the runs", lines, table_of(head, rows, len(head)))


def _all_labels(versus: Versus) -> dict[int, str]:
    times, figures = (
        [row.base for row in versus.times],
        [row.base for row in (*versus.memory, *versus.speeds, *versus.figures)],
    )
    return {**_labels(times), **_labels(figures)}


def _versus_sections(versus: Versus, against: str, rule: Rule) -> list[Section]:
    return [
        _times(versus, against, rule),
        _not_comparable(versus, against),
        _figures(f"{against}: memory", versus.memory, only_changed=False, lines=_memory_lines(rule)),
        _speeds(f"{against}: speeds of devices", versus.speeds),
        _figures(f"{against}: other figures that changed", versus.figures, only_changed=True, lines=()),
        _absences(f"{against}: missing", versus.missing),
        _absences(f"{against}: added", versus.added),
    ]


def _verdicts(versus: Versus, against: str, *, on_page: bool) -> Section:
    lines = []
    if versus.base.cells is None or versus.other.cells is None:
        lines.append("no outcomes to compare: a file of pytest-benchmark holds none")
    elif versus.base.verdict == versus.other.verdict:
        lines.append(f"the verdict is {versus.other.verdict}, as before")
    else:
        lines.append(f"the verdict went from {versus.base.verdict} to {versus.other.verdict}")
    short = _short(change.cell for change in versus.outcomes)
    # A model that does not load any more loses all of its checks for one cause: a page says it once.
    alike: dict[tuple[object, ...], list[OutcomeChange]] = {}
    for place, change in enumerate(versus.outcomes):
        cause = cause_of(change.reason)
        own = () if on_page and cause else (place,)
        alike.setdefault((change.base, change.other, change.is_worse, cause, *own), []).append(change)
    rows = [_outcome_row([short[change.cell] for change in changes], changes[0]) for changes in alike.values()]
    return section_of(
        f"{against}: verdict and outcomes", lines, table_of(("check", "was", "is", "", "reason"), rows, 5)
    )


def _outcome_row(names: Sequence[str], change: OutcomeChange) -> tuple[Cell, ...]:
    """Checks that went the same way for one cause: the first by its name, the others folded."""
    rest = Bullets(entries=tuple(names[1:]))
    more = Section(title=f"and {len(names) - 1} more for the same reason", level=0, fold=Fold.CLOSED, blocks=(rest,))
    return (
        (names[0], more) if rest.entries else names[0],
        change.base,
        change.other,
        "worse" if change.is_worse else "",
        _first_line(change.reason),
    )


def _numerics(versus: Versus, against: str) -> Section:
    """Other bits than before: no fault by themselves, and no longer what was accepted."""
    short = _short(change.cell for change in versus.numerics)
    rows = [(short[change.cell], f"{len(change.ways)} of {change.of}", change.ways[0]) for change in versus.numerics]
    lines = (
        ("a driver or a library computes otherwise; whether it is still right, the golden numbers and limits tell",)
        if rows
        else ()
    )
    return section_of(
        f"{against}: changed numerics",
        lines,
        table_of(("check", "ways with other bits", "the first"), rows, 3, len(rows)),
    )


def _times(versus: Versus, against: str, rule: Rule) -> Section:
    labels = _labels([row.base for row in versus.times])
    ordered = sorted(versus.times, key=lambda row: (ORDER.index(row.word), -abs(row.ratio - 1.0)))
    rows = [_time_row(row, labels) for row in ordered]
    notable = versus.words[Change.SLOWER] + versus.words[Change.FASTER]
    head = ("time", "metric", "word", "ratio", "interval", "p", "delta", "base", "other", "rounds", "needs")
    lines = [*_time_lines(versus, rule), *(versus.steadiness if versus.times else ())]
    return section_of(f"{against}: times", lines, table_of(head, rows, 3, notable))


def _time_lines(versus: Versus, rule: Rule) -> list[str]:
    if not versus.times:
        return ["no time is in both"]
    lines = [f"all ratios together (geometric mean): {versus.overall:.3f}"] if versus.overall else []
    open_ = [row for row in versus.times if row.word is Change.TOO_FEW]
    if open_ and versus.variance_factor > 1.0:
        lines.append(
            f"{counted(len(open_), 'time')} with too few samples; an unsteady machine has no number that is enough"
        )
    elif open_:
        lines.append(
            f"{counted(len(open_), 'time')} with too few samples; to find a change of {rule.change:.0%} takes "
            f"{_range([row.to_find for row in open_])} rounds a side, to show that a time is within {rule.margin:.0%} "
            f"takes {_range([row.for_same for row in open_])} (at the noise seen, or at 5% where none is seen yet)"
        )
    bare = sum(not (row.base.rounds and row.other.rounds) for row in open_)
    return lines + ([f"{counted(bare, 'time')} without rounds: only a summary is in the file"] if bare else [])


def _range(rounds: Sequence[int | None]) -> str:
    """`17`, `9 to 31`, `9 to more than 2,000`."""
    texts = [_rounds_text(n) for n in sorted(rounds, key=lambda n: math.inf if n is None else n)]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _rounds_text(rounds: int | None) -> str:
    return f"more than {MOST_ROUNDS:,}" if rounds is None else str(rounds)


def _time_row(row: TimeRow, labels: dict[int, str]) -> tuple[Cell, ...]:
    interval = _NONE if row.interval is None else f"{row.interval.low:.3f} to {row.interval.high:.3f}"
    return (
        labels[id(row.base)],
        row.base.metric,
        _toned(row.word),
        f"{row.ratio:.3f}",
        interval,
        _NONE if row.p_adjusted is None else _p_text(row.p_adjusted),
        _NONE if row.delta is None else f"{row.delta:+.2f}",
        _median_text(row.base),
        _median_text(row.other),
        f"{len(row.base.rounds) or '?'} / {len(row.other.rounds) or '?'}",
        _needs_text(row),
    )


def _toned(word: Change | Level) -> Cell:
    return Span(text=word.value, tone=_TONES.get(word, Tone.PLAIN))


def _median_text(timed: Timed) -> str:
    """Loads take seconds, but the functions of other projects that are compared may take a few nanoseconds."""
    if timed.unit != "s" or timed.median >= _SHORT:
        return format_value(timed.median, timed.unit)
    unit, scale = next((u, s) for u, s in (("ms", 1e3), ("µs", 1e6), ("ns", 1e9)) if timed.median * s >= 1 or u == "ns")
    return f"{timed.median * scale:.4g} {unit}"


def _needs_text(row: TimeRow) -> str:
    """Rounds to find a change, and to show that there is none; a dash where no number is named."""
    if row.word is not Change.TOO_FEW:
        return _NONE
    find, same = (_NONE if rounds is None else str(rounds) for rounds in (row.to_find, row.for_same))
    return f"{find} / {same}"


def _p_text(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _labels(entries: Sequence[Timed | SideFigure]) -> dict[int, str]:
    """What to call each: its variant, with the question where two of its questions measure the same."""
    counts = Counter((entry.variant, entry.metric) for entry in entries)
    labels = {}
    for entry in entries:
        if entry.variant is None:
            labels[id(entry)] = entry.cell
        elif counts[entry.variant, entry.metric] == 1:
            labels[id(entry)] = entry.variant
        else:
            labels[id(entry)] = f"{entry.variant} {question(entry.cell)}"
    return labels


def question(cell: str) -> str:
    """The name of the test in a cell's id, without its file and parameter."""
    return cell.partition("[")[0].rpartition("::")[2]


def _short(cells: Iterable[str]) -> dict[str, str]:
    """Ids of cells without their files, but for those that would then be called the same."""
    short = {cell: cell.partition("::")[2] or cell for cell in cells}
    counts = Counter(short.values())
    return {cell: name if counts[name] == 1 else cell for cell, name in short.items()}


def _not_comparable(versus: Versus, against: str) -> Section:
    short = _short(row.cell for row in versus.mismatched)
    rows = [(short[row.cell], row.metric, row.reason) for row in versus.mismatched]
    return section_of(f"{against}: in both, and yet not comparable", (), table_of(("check", "metric", "why"), rows, 3))


def _memory_lines(rule: Rule) -> tuple[str, ...]:
    return (
        f"one value a run, so no test: more or less by more than {rule.memory_tolerance:.0%} and "
        f"{format_value(rule.memory_floor, 'bytes')}; counted bytes by any difference",
    )


def _figures(title: str, rows: Sequence[FigureRow], *, only_changed: bool, lines: tuple[str, ...]) -> Section:
    shown = [row for row in rows if not only_changed or row.level is not Level.SAME]
    if not shown:
        return section_of(title)
    labels = _labels([row.base for row in rows])
    order = (Level.MORE, Level.UNKNOWN, Level.LESS, Level.SAME)
    cells = [
        (
            labels[id(row.base)],
            row.base.metric,
            _toned(row.level),
            _NONE if row.change is None else f"{row.change:+.1%}",
            _figure_text(row.base),
            _figure_text(row.other),
        )
        for row in sorted(shown, key=lambda row: (order.index(row.level), -abs(row.change or 0.0)))
    ]
    notable = sum(row.level is not Level.SAME for row in shown)
    head = ("check", "metric", "word", "change", "base", "other")
    return section_of(title, lines, table_of(head, cells, 3, notable))


def _speeds(title: str, rows: Sequence[FigureRow]) -> Section:
    """All of them, without a word: a device is judged by its floor, and one value a run shows no change."""
    if not rows:
        return section_of(title)
    labels = _labels([row.base for row in rows])
    cells = [
        (
            labels[id(row.base)],
            row.base.metric,
            _NONE if row.change is None else f"{1.0 + row.change:.3f}",
            _figure_text(row.base),
            _figure_text(row.other),
        )
        for row in rows
    ]
    lines = ("one value a run, so no test; higher is faster, and the floors of each run have judged it",)
    return section_of(title, lines, table_of(("check", "metric", "ratio", "base", "other"), cells, 2))


def _figure_text(figure: SideFigure) -> str:
    if figure.value is None:
        return f"not measured ({_first_line(figure.reason)})"
    return format_value(figure.value, figure.unit)


def _absences(title: str, entries: Sequence[Absent]) -> Section:
    """What is absent; whole cells of a variant in one row, which names each of its questions."""
    whole: dict[str, list[Absent]] = {}
    for entry in entries:
        if entry.metric is None:
            whole.setdefault(entry.variant or entry.cell, []).append(entry)
    rows = [
        (name, f"{counted(len(cells), 'whole check')}: {', '.join(question(c.cell) for c in cells)}", cells[0].reason)
        for name, cells in whole.items()
    ]
    short = _short(entry.cell for entry in entries)
    rows += [(short[e.cell], e.metric, _first_line(e.reason)) for e in entries if e.metric is not None]
    return section_of(title, (), table_of(("check", "what", "why"), rows, 3, len(rows)))


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _method(comparison: Comparison) -> tuple[str, ...]:
    rule = comparison.rule
    return (
        f"ratio of all pairs of rounds (median) with a {rule.confidence:.0%} interval; Mann and Whitney's rank test, "
        "allowing for rounds that go together, or the size of a difference where ranks are too few; corrected by "
        f"Holm for {counted(comparison.tests, 'test')}; Cliff's delta",
        f"slower, faster: p below {rule.alpha:g}, an interval without 1, and a ratio off by more than "
        f"{rule.margin:.0%}; same: the interval lies within {rule.margin:.0%}; all else: too few samples",
    )
