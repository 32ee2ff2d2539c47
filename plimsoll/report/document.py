"""The verdict as a document: what failed, what is missing, what was waived, each said in one place.

Four readers get it: somebody at a terminal, in a mail or a file (`summary.md`), over the shoulder of a CI job (the
step's summary), and at a page (`report.html`). They differ in how much of a finding they are shown, never in which
findings there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from plimsoll.evidence.record import LoadRecord, RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.metrics import METRICS
from plimsoll.present import terminal
from plimsoll.present.document import (
    BREAK,
    Banner,
    Block,
    Bullets,
    Cell,
    Document,
    Facts,
    Fold,
    Inline,
    Paragraph,
    Piece,
    Section,
    Shares,
    Sign,
    Span,
    Style,
    Table,
    Tone,
    Verbatim,
    Words,
    code,
    columns,
    faint,
    strong,
)
from plimsoll.present.foreign_text import one_line
from plimsoll.report.gpus import gpu_table
from plimsoll.report.manual import manual_lines, manual_step, manual_words
from plimsoll.report.node_card import distinct_nodes, node_card
from plimsoll.report.reader import Reader
from plimsoll.report.story import check_name, gpu_name, spoken
from plimsoll.report.symptoms import diagnosis_lines, diagnosis_link, symptom_link, symptom_section
from plimsoll.symptoms.recognise import Diagnosis
from plimsoll.units import counted, format_bytes, format_seconds, format_value
from plimsoll.verdict.cells import WORST_FIRST, CellOutcome, CellResult, cause_of, was_not_asked
from plimsoll.verdict.verdict import Gap, Verdict, Word

NODE_ROW: Final = "(node)"
"""The row of the cells that ask the machine, not a variant."""
NO_SUBJECT: Final = "other"
"""The column of cells without a subject."""

_TONES: Final = {Word.ACCEPTED: Tone.GOOD, Word.REJECTED: Tone.BAD, Word.INCOMPLETE: Tone.NEAR}
_SENTENCE: Final = 160
"""Characters of a reason within a sentence."""
_BRIEF: Final = 300
"""Characters of a reason on one line."""
_MOST_FAILURES: Final = 8
_MOST_OTHERS: Final = 3
"""What a terminal shows of failures, and of gaps, waivers and notes, so that the last lines fit one screen with the
verdict; the summary has all of them."""
_MOST_SHOWN: Final = 50
"""Failures above the rows of the page; all of them have a row of their own."""
_LONGEST_REASON: Final = 2000
"""Characters of a reason above the rows; the last words of a host can be long."""
_MOST_HOSTS: Final = 20
_MOST_CELLS: Final = 40
"""Cells that one gap names on the page; all of them have a row of their own."""
_MANY_VARIANTS: Final = 30
_BELOW: Final = "in the rows below"
_FAULTS, _FAILURES, _MISSING = "Why this run cannot be accepted", "Failures", "Missing, and how to get it"
_BEFORE_THE_NODE: Final = (_FAULTS, _FAILURES, _MISSING)
_ENDED_BADLY: Final = ("died", "timeout")


def verdict_document(record: RunRecord, verdict: Verdict, reader: Reader) -> Document:
    """All that there is to say of a run, the verdict first. Of a page it is the head, above sections and rows."""
    on_page = reader is Reader.PAGE
    listed = [
        _listed(_FAULTS, verdict.faults),
        _listed("Notes", verdict.notes),
        *_failures(verdict.results, reader),
        *(_ended_hosts(record) if on_page else []),
        *_missing(verdict.gaps, reader),
        symptom_section(verdict.results, reader),
        *_waived(verdict.results, on_page=on_page),
        _listed("Conflicts: the worst counts", [code(str(conflict)) for conflict in verdict.conflicts]),
        *(_variants_on_page(verdict.results) if on_page else _variants(verdict.results)),
        *([] if reader is Reader.STEP else gpu_table(record, verdict.results)),
        *([*_marginal(verdict.results), *_loads(record.loads)] if reader is Reader.SUMMARY else []),
    ]
    found = [section for section in listed if section is not None]
    nodes = _nodes(record)
    if not on_page:
        return Document(title=verdict.statement, blocks=(_head(record, verdict), *found, *nodes))
    # Who opens the page wants to know why, before on what.
    urgent = [section for section in found if section.title in _BEFORE_THE_NODE]
    rest = [section for section in found if section not in urgent]
    return Document(title=verdict.statement, blocks=(_banner(record, verdict), *urgent, *nodes, *rest))


def closing_lines(record: RunRecord, verdict: Verdict, reports: object = None) -> list[str]:
    """The last lines on a terminal, for the caller to colour: the verdict is always the last.

    `reports` is the folder where the whole story lies, the run's own unless given.
    """
    folder = reports or record.folder
    counts = ", ".join(f"{count} {outcome.word}" for outcome, count in verdict.counts)
    found = (
        ("failed", _failures_by_cause(_of(verdict.results, CellOutcome.FAIL))),
        ("what to do", _steps(_of(verdict.results, CellOutcome.FAIL))),
        ("missing", [_brief_gap(gap) for gap in verdict.gaps]),
        (
            "waived",
            [
                _brief(result, f" ({result.waived.value}): ", str(result.waiver))
                for result in verdict.results
                if result.waived is not None
            ],
        ),
        ("conflicts, of which the worst counts", [str(conflict) for conflict in verdict.conflicts]),
        ("why this run cannot be accepted", list(verdict.faults)),
    )
    lines = [f"planned {counted(verdict.planned, 'check')}: {counts}"]
    for title, entries in found:
        if entries:
            most = _MOST_OTHERS if title in ("missing", "waived") else _MOST_FAILURES
            listed = Bullets(entries=tuple(entries), most=most, rest=f"see {folder}/summary.md")
            lines += terminal.section_lines(Section(title=f"{title}:", blocks=(listed,)))
    notes = Bullets(entries=tuple(f"note: {note}" for note in verdict.notes), most=_MOST_OTHERS, rest="see summary.md")
    lines += terminal.block_lines([notes])
    return [*lines, terminal.line(f"evidence and reports: {folder}"), terminal.line(verdict.statement)]


def value_of(judgement: Judgement) -> str:
    """The measured value, or why there is none."""
    measurement = judgement.measurement
    if measurement.value is None:
        return f"not measured ({measurement.reason})"
    return format_value(measurement.value, measurement.unit)


def margin(judgement: Judgement) -> str:
    """How far inside or outside of its limit a value lies."""
    return judgement.room or "–"


def _failures_by_cause(failed: Iterable[CellResult]) -> list[Words]:
    """Each cause of a variant once: a model that did not load fails all of its checks alike."""
    return [_failed_alike(*results) for results in _causes_of(failed)]


def _failed_alike(first: CellResult, *others: CellResult) -> Words:
    more = f" and {counted(len(others), 'other check')} of {first.cell.variant or 'the node'}" if others else ""
    return (one_line(first.cell.id), f"{more}: ", one_line(spoken(first.reason)))


def _brief(result: CellResult, between: str, text: str) -> tuple[str, ...]:
    return (one_line(result.cell.id), between, one_line(text))


def _steps(failed: Sequence[CellResult]) -> list[Words]:
    """The next step of each symptom that failures show, once, with where more is written, and the checks' pages."""
    first = {each.symptom: each for result in failed for each in result.diagnoses[:1]}
    return [*(f"{each.title}: {each.next} ({each.anchor})" for each in first.values()), *manual_step(failed)]


def _brief_gap(gap: Gap) -> Words:
    see = f" (see {gap.diagnosis.anchor})" if gap.diagnosis is not None else ""
    return (one_line(str(gap)), see, *((BREAK, f"to run them: {gap.fix}") if gap.fix else ()))


def _of(results: Iterable[CellResult], outcome: CellOutcome) -> list[CellResult]:
    return [result for result in results if result.outcome is outcome]


def _listed(title: str, entries: Sequence[Cell], most: int | None = None, rest: str = _BELOW) -> Section | None:
    if not entries:
        return None
    return Section(title=title, blocks=(Bullets(entries=tuple(entries), most=most, rest=rest),))


def _head(record: RunRecord, verdict: Verdict) -> Block:
    counts = ", ".join(f"{count} {outcome.word}" for outcome, count in verdict.counts)
    started = "at an unknown time" if record.run is None else record.run.started
    ended = "did not finish" if record.finish is None else record.finish.at
    return Bullets(
        entries=(
            ("scope: ", code(verdict.scope)),
            f"checks: {verdict.planned} planned, {counts}",
            ("run: ", code(record.run_id), f", started {started}, ended {ended}"),
        )
    )


def _banner(record: RunRecord, verdict: Verdict) -> Block:
    started = "at an unknown time" if record.run is None else _moment(record.run.started)
    ended = "did not finish" if record.finish is None else f"ended {_moment(record.finish.at)}"
    many = f"{len(record.parts)} runs" if record.parts else f"run {record.run_id}"
    counts = tuple((Sign(outcome=outcome.value), f" {count} {outcome.word}") for outcome, count in verdict.counts)
    parts = tuple((outcome.value, count) for outcome, count in verdict.counts)
    return Banner(
        tone=_TONES[verdict.word],
        word=verdict.word.value,
        title=_why(verdict),
        blocks=(
            Shares(label=verdict.statement, parts=parts),
            Bullets(entries=counts, name="counts"),
            Paragraph(words=("Scope: ", code(verdict.scope))),
            Paragraph(words=faint(f"{verdict.statement}. {many[0].upper()}{many[1:]}, started {started}, {ended}.")),
        ),
    )


def _moment(text: str) -> str:
    """A moment to the second, in UTC as evidence has it."""
    head, dot, _ = text.partition(".")
    return f"{head.replace('T', ' ')} UTC" if dot else text


def _why(verdict: Verdict) -> str:
    """The verdict's reason in a sentence."""
    counts = {outcome: count for outcome, count in verdict.counts if count}
    failed = _of(verdict.results, CellOutcome.FAIL)
    if failed:
        causes = _causes_of(failed)
        first = failed[0]
        several = f", of {counted(len(causes), 'cause')}; the first" if len(causes) > 1 else ""
        what = one_line(spoken(first.reason), _SENTENCE)
        where = first.cell.variant or check_name(first.cell.id)
        said = what if what.startswith(where) else f"{where}: {what}"
        return f"{len(failed)} of {counted(verdict.planned, 'check')} failed{several}: {said}"
    if verdict.faults:
        return f"Nothing failed, but {one_line(verdict.faults[0], _SENTENCE)}"
    if verdict.gaps:
        return f"Nothing failed, but {one_line(str(verdict.gaps[0]), _SENTENCE)}"
    if verdict.word is Word.ACCEPTED:
        also = [f"{counts[o]} of them {o.word}" for o in (CellOutcome.MARGINAL, CellOutcome.WAIVED) if o in counts]
        return f"Each of {counted(verdict.planned, 'check')} passed{', ' if also else ''}{', '.join(also)}."
    return "Nothing was planned, so nothing can be accepted."


def _failures(results: Sequence[CellResult], reader: Reader) -> list[Section | None]:
    failed = _of(results, CellOutcome.FAIL)
    if not failed:
        return []
    if reader is Reader.STEP:
        rows = tuple((code(r.cell.id), code(r.reason, _BRIEF)) for r in failed)
        return [Section(title="Failures", blocks=(Table(columns=columns("check", "what"), rows=rows),))]
    if reader is Reader.SUMMARY:
        whole = [
            Section(
                title=code(r.cell.id),
                level=2,
                blocks=(Verbatim(text=r.reason), *diagnosis_lines(r.diagnoses), *manual_lines(r)),
            )
            for r in failed
        ]
        return [Section(title="Failures", blocks=tuple(whole))]
    causes = _causes_of(failed)
    shown: tuple[tuple[Cell, ...], ...] = tuple(_failure(alike) for alike in causes[:_MOST_SHOWN])
    more = len(causes) - len(shown)
    titles = ("Variant", "Check", "Measured", "Limit", "Off by", "What it says", "Next step")
    table = Table(label="What failed", columns=columns(*titles), rows=shown)
    rest = [Paragraph(words=f"and {more} more, {_BELOW}")] if more > 0 else []
    return [Section(title=_FAILURES, blocks=(table, *rest))]


def _causes_of(failed: Iterable[CellResult]) -> list[list[CellResult]]:
    """Failures that are one: of one variant on the same GPUs, for which an earlier one kept the others from asking."""
    alike: dict[tuple[str | None, ...], list[CellResult]] = {}
    for result in failed:
        cell = result.cell
        cause: tuple[str | None, ...] = (cell.variant, cell.gpu, cause_of(result.reason))
        own = () if cause not in alike or was_not_asked(result.reason) else (cell.id,)
        alike.setdefault((*cause, *own), []).append(result)
    return list(alike.values())


def _failure(alike: Sequence[CellResult]) -> tuple[Cell, ...]:
    """A row for the failures that are one: what was measured against which limit, what is said, and what to do."""
    result = alike[0]
    bad = [judgement for judgement in result.judgements if not judgement.outcome.is_good]
    causes = dict.fromkeys(cause for measured in result.measurements for cause in measured.causes) if bad else {}
    told = {*map(str, bad), *(f"cause: {cause}" for cause in causes)}
    # A cause may have several lines: take away what was told by its text, not line by line.
    rest = spoken(result.reason)
    for text in told:
        rest = rest.replace(text, "")
    others = tuple(code(other.cell.id) for other in alike[1:])
    more = _unfolding(f"and {len(others)} more that say the same", Bullets(entries=others))
    row: tuple[Cell, ...] = (
        (
            Span(text=result.cell.variant or "the node", style=Style.NAME),
            *((BREAK, faint(gpu_name(result.cell.gpu))) if result.cell.gpu else ()),
        ),
        _with(code(check_name(result.cell.id)), [more] if others else []),
        _lines(strong(value_of(j) if j.measurement.value is not None else "not measured") for j in bad),
        _lines((f"{judgement.limit} ", faint(judgement.limit.source)) for judgement in bad),
        _lines(judgement.room.removesuffix(" outside") for judgement in bad),
        _said(bad, tuple(causes), rest.strip()),
        _steps_on_page(result),
    )
    return row


def _said(bad: Iterable[Judgement], causes: tuple[str, ...], rest: str) -> Cell:
    """What the figures are called, why they are bad, and what else the check said."""
    found: list[Piece] = [
        *_lines(Span(text=METRICS[j.measurement.metric].title, title=j.measurement.metric) for j in bad)
    ]
    found += [Bullets(entries=causes, name="causes")] if causes else []
    found += _reason(rest) if rest else []
    return tuple(found)


def _with(words: Inline, below: Iterable[Piece]) -> Cell:
    found: list[Piece] = [words, *below]
    return tuple(found)


def _lines(parts: Iterable[Words]) -> tuple[Inline, ...]:
    found: list[Inline] = []
    for part in parts:
        found += [BREAK] if found else []
        found += part if isinstance(part, tuple) else (part,)
    return tuple(found)


def _steps_on_page(result: CellResult) -> Cell:
    """The next step of each symptom that was recognised, with a link to what the page says of it, and where the manual
    tells of the check."""
    return _lines([*((f"{each.next} ", symptom_link(each)) for each in result.diagnoses), *manual_words(result)])


def _cut(text: str) -> str:
    """A text that is not too long for the head of a page."""
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…\n(the row below has the rest)"


def _reason(text: str) -> list[Piece]:
    """What it says at a glance; a stack, a host's last words or a long list unfold."""
    first, *rest = _cut(text).splitlines()
    if first.endswith(":") and rest:
        first, *rest = f"{first} {rest[0].strip()}", *rest[1:]
    short = one_line(first, _BRIEF)
    whole = text if short != " ".join(first.split()) else "\n".join(rest)
    return [Verbatim(text=short), *([_unfolding("All of it", Verbatim(text=_cut(whole)))] if whole.strip() else [])]


def _unfolding(title: str, *blocks: Block) -> Section:
    return Section(title=title, level=0, fold=Fold.CLOSED, blocks=blocks)


def _ended_hosts(record: RunRecord) -> list[Section | None]:
    """The hosts that died or did not answer, with the last lines of their logs; of several runs each says its own."""
    entries = [
        _host(host, f" in {run.run_id}" if record.parts else "")
        for run in record.runs
        for host in run.hosts
        if host.get("state") in _ENDED_BADLY
    ]
    return [_listed("Model processes that crashed or timed out", entries, _MOST_HOSTS, "in evidence.jsonl")]


def _host(host: Mapping[str, Any], where: str) -> tuple[Piece, ...]:
    how = "did not answer in time" if host.get("state") == "timeout" else "died"
    ended = [str(host[key]) for key in ("reason", "signal") if host.get(key)]
    if host.get("exitcode") is not None:
        ended.append(f"exit code {host['exitcode']}")
    doing = f" at {host['request']}" if host.get("request") else ""
    told = host.get("stderr") or ()
    last = told if isinstance(told, str) else "\n".join(map(str, told))
    return (
        code(str(host.get("variant"))),
        f"{where} {how}{doing}: {', '.join(ended) or 'cause unknown'}",
        Verbatim(text=last[-_LONGEST_REASON:]) if last.strip() else Paragraph(words="Its log has no last lines."),
        *([_unfolding("Its stacks", Verbatim(text=_cut(str(host["stack"]))))] if host.get("stack") else []),
    )


def _missing(gaps: Sequence[Gap], reader: Reader) -> list[Section | None]:
    if not gaps:
        return []
    if reader is Reader.STEP:
        rows = tuple((str(gap), code(gap.fix) if gap.fix else "") for gap in gaps)
        return [Section(title="Missing", blocks=(Table(columns=columns("what", "to run them"), rows=rows),))]
    if reader is Reader.SUMMARY:
        whole = [
            Section(title=str(gap), level=2, blocks=(*_closing(gap, "checks"), *_pointer(gap.diagnosis)))
            for gap in gaps
        ]
        return [Section(title="Missing", blocks=tuple(whole))]
    # By code, since one command often closes all gaps of a kind.
    by_code: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_code.setdefault(gap.code or gap.outcome.word, []).append(gap)
    entries = [
        (str(gap), *diagnosis_link(gap.diagnosis), *_closing(gap, "Checks", _MOST_CELLS))
        for alike in by_code.values()
        for gap in alike
    ]
    return [_listed(_MISSING, entries)]


def _closing(gap: Gap, title: str, most: int | None = None) -> tuple[Block, ...]:
    """The command that closes a gap, and the cells that are in it."""
    cells = Bullets(entries=tuple(map(code, gap.cells)), most=most, rest=_BELOW)
    return (*([Verbatim(text=gap.fix)] if gap.fix else []), _unfolding(title, cells))


def _pointer(diagnosis: Diagnosis | None) -> tuple[Block, ...]:
    return () if diagnosis is None else (Paragraph(words=("See: ", code(diagnosis.anchor))),)


def _waived(results: Iterable[CellResult], *, on_page: bool) -> list[Section | None]:
    """Who answers for what, until when, and what the cell is without it."""
    entries: list[tuple[Piece, ...]] = []
    for result in results:
        if result.waived is not None:
            without = f"without the waiver {result.waived.value}: "
            said = (code(result.cell.id), f": {result.waiver}")
            rest = Verbatim(text=without + _cut(result.reason)) if on_page else code(result.reason)
            entries.append((*said, rest) if on_page else (*said, f"; {without}", rest))
    return [_listed("Waived", entries)]


def _marginal(results: Iterable[CellResult]) -> list[Section | None]:
    entries = [(code(r.cell.id), ": ", code(r.reason)) for r in _of(results, CellOutcome.MARGINAL)]
    return [_listed("Marginal", entries)]


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcomes of some cells."""

    counts: Counter[CellOutcome]

    @property
    def worst(self) -> CellOutcome | None:
        """The worst outcome among them; None where there are no cells."""
        return next((outcome for outcome in WORST_FIRST if self.counts[outcome]), None)

    @property
    def is_fine(self) -> bool:
        """True where every cell passed, or there is none."""
        return self.worst in (CellOutcome.PASS, None)

    def __str__(self) -> str:
        """`7/7`, or `5/7 (1 failed, 1 skipped)`; nothing where there are no cells."""
        if not self.counts:
            return ""
        rest = [f"{self.counts[o]} {o.word}" for o in WORST_FIRST if self.counts[o] and o is not CellOutcome.PASS]
        share = f"{self.counts[CellOutcome.PASS]}/{self.counts.total()}"
        return f"{share} ({', '.join(rest)})" if rest else share


TalliedRow = tuple[str, tuple[Tally, ...]]
"""A variant, and a tally for each subject."""


def tallies(results: Sequence[CellResult]) -> tuple[tuple[str, ...], list[TalliedRow]]:
    """The subjects, and the cells of each variant counted by subject; both in the order of the plan, the node first."""
    variants = dict.fromkeys(result.cell.variant or NODE_ROW for result in results)
    subjects = dict.fromkeys(result.cell.subject or NO_SUBJECT for result in results)
    counts = {(variant, subject): Counter[CellOutcome]() for variant in variants for subject in subjects}
    for result in results:
        counts[result.cell.variant or NODE_ROW, result.cell.subject or NO_SUBJECT][result.outcome] += 1
    ordered = sorted(variants, key=lambda variant: variant != NODE_ROW)
    return tuple(subjects), [(v, tuple(Tally(counts[v, subject]) for subject in subjects)) for v in ordered]


def _variants(results: Sequence[CellResult]) -> list[Section]:
    subjects, rows = tallies(results)
    if not rows:
        return []
    table = Table(
        columns=columns("variant", *subjects), rows=tuple((code(v), *map(str, counted_)) for v, counted_ in rows)
    )
    return [Section(title="Variants", blocks=(Paragraph(words="Checks that passed, of those planned."), table))]


def _variants_on_page(results: Sequence[CellResult]) -> list[Section]:
    """Of many variants those first of which anything did not pass; the others fold away."""
    title = "Variants: checks that passed, of those planned"
    subjects, rows = tallies(results)
    if not rows:
        return []

    def table(some: Sequence[TalliedRow]) -> Table:
        return Table(label=title, columns=columns("Variant", *subjects), rows=tuple(map(_tallied, some)))

    fine = [row for row in rows if all(tally.is_fine for tally in row[1])]
    if len(rows) <= _MANY_VARIANTS or not fine:
        return [Section(title=title, fold=Fold.OPEN, blocks=(table(rows),))]
    rest = [row for row in rows if row not in fine]
    folded = _unfolding(f"{counted(len(fine), 'variant')} of which every check passed", table(fine))
    return [Section(title=title, fold=Fold.OPEN, blocks=(*([table(rest)] if rest else []), folded))]


def _tallied(row: TalliedRow) -> tuple[Words, ...]:
    variant, found = row
    return (variant, *(" " if t.worst is None else (Sign(outcome=t.worst.value), f" {t}") for t in found))


def _loads(loads: Sequence[LoadRecord]) -> list[Section]:
    if not loads:
        return []
    rows = []
    for load in loads:
        rate = f"{format_bytes(load.checkpoint_bytes / load.seconds)}/s" if load.seconds > 0 else "not measured"
        size = format_bytes(load.checkpoint_bytes)
        rows.append((code(load.variant), load.cache, format_seconds(load.seconds), size, rate))
    head = columns("variant", "page cache", "from_pretrained", "checkpoint", "rate")
    return [Section(title="Load times", blocks=(Table(columns=head, rows=tuple(rows)),))]


def _nodes(record: RunRecord) -> list[Section]:
    nodes = distinct_nodes(record)
    if not nodes:
        return [Section(title="Node", blocks=(Paragraph(words="The run ended before the node was recorded."),))]
    return [Section(title="Node", blocks=(Facts(pairs=tuple(node_card(node))),)) for node in nodes]
