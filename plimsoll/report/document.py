"""The verdict as a document: what failed, what is missing, what was waived, each said in one place.

Four readers get it: somebody at a terminal (`closing.py`), in a mail or a file (`summary.md`), over the shoulder of a
CI job (the step's summary), and at a page (`report.html`). They differ in how much of a finding they are shown, never
in which findings there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from plimsoll.catalogue.entries import without_gpus
from plimsoll.evidence.record import LoadRecord, RunRecord
from plimsoll.present.document import (
    Banner,
    Block,
    Bullets,
    Document,
    Facts,
    Paragraph,
    Piece,
    Section,
    Shares,
    Sign,
    Table,
    Tone,
    Verbatim,
    code,
    columns,
    faint,
    lines,
)
from plimsoll.present.foreign_text import one_line
from plimsoll.report.failures import FAILURES, causes_of, ended_hosts, failure_sections
from plimsoll.report.figures import figure_sentence
from plimsoll.report.gpus import gpu_table
from plimsoll.report.manual import manual_of_failed, manual_section
from plimsoll.report.naming import check_title
from plimsoll.report.node_card import distinct_nodes, node_card
from plimsoll.report.pieces import BELOW, cut, listed, of_outcome, unfolding
from plimsoll.report.reader import Reader
from plimsoll.report.story import gpu_name, spoken
from plimsoll.report.symptoms import diagnosis_link, symptom_section
from plimsoll.report.tallies import variant_table, variants_on_page
from plimsoll.report.tiles import node_sections
from plimsoll.symptoms.recognise import Diagnosis
from plimsoll.units import counted, format_bytes, format_seconds
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import Gap, Verdict, Word

_TONES: Final = {Word.ACCEPTED: Tone.GOOD, Word.REJECTED: Tone.BAD, Word.INCOMPLETE: Tone.NEAR}
_SENTENCE: Final = 160
"""Characters of a reason within a sentence."""
_MOST_CELLS: Final = 40
"""Cells that one gap names on the page; all of them have a row of their own."""
_FAULTS, _MISSING = "Why this run cannot be accepted", "Missing, and how to get it"
_BEFORE_THE_NODE: Final = (_FAULTS, FAILURES, _MISSING)


def verdict_document(record: RunRecord, verdict: Verdict, reader: Reader) -> Document:
    """All that there is to say of a run, the verdict first. Of a page it is the head, above sections and rows."""
    on_page = reader is Reader.PAGE
    topics = [
        listed(_FAULTS, verdict.faults),
        listed("Notes", verdict.notes),
        *failure_sections(verdict.results, reader),
        *(ended_hosts(record) if on_page else []),
        *_missing(verdict.gaps, reader),
        symptom_section(verdict.results, reader),
        manual_section(manual_of_failed(of_outcome(verdict.results, CellOutcome.FAIL))) if on_page else None,
        *_waived(verdict.results, on_page=on_page),
        listed("Conflicts: the worst counts", [code(str(conflict)) for conflict in verdict.conflicts]),
        *(variants_on_page(verdict.results) if on_page else variant_table(verdict.results)),
        *(gpu_table(record, verdict.results) if reader is Reader.SUMMARY else []),
        *([*_marginal(verdict.results), *_loads(record.loads)] if reader is Reader.SUMMARY else []),
    ]
    found = [section for section in topics if section is not None]
    if not on_page:
        return Document(title=verdict.statement, blocks=(_head(record, verdict), *found, *_nodes(record)))
    # Who opens the page wants to know why, before on what.
    urgent = [section for section in found if section.title in _BEFORE_THE_NODE]
    rest = [section for section in found if section not in urgent]
    nodes = node_sections(record, verdict.results)
    return Document(title=verdict.statement, blocks=(_banner(record, verdict), *urgent, *nodes, *rest))


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
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _why(verdict: Verdict) -> str:
    """The verdict's reason in a sentence."""
    counts = {outcome: count for outcome, count in verdict.counts if count}
    failed = of_outcome(verdict.results, CellOutcome.FAIL)
    if failed:
        causes = causes_of(failed)
        first = failed[0]
        several = f", of {counted(len(causes), 'cause')}; the first" if len(causes) > 1 else ""
        return f"{len(failed)} of {counted(verdict.planned, 'check')} failed{several}: {_where(first)}: {_what(first)}"
    if verdict.faults:
        return f"Nothing failed, yet this run cannot be accepted: {one_line(verdict.faults[0], _SENTENCE)}"
    if verdict.gaps:
        return f"Nothing failed, but {one_line(str(verdict.gaps[0]), _SENTENCE)}"
    if verdict.word is Word.ACCEPTED:
        also = [f"{counts[o]} of them {o.word}" for o in (CellOutcome.MARGINAL, CellOutcome.WAIVED) if o in counts]
        return f"Each of {counted(verdict.planned, 'check')} passed{', ' if also else ''}{', '.join(also)}."
    return "Nothing was planned, so nothing can be accepted."


def _where(result: CellResult) -> str:
    cell = result.cell
    gpu = f" on {gpu_name(cell.gpu)}" if cell.gpu else ""
    return f"{without_gpus(cell.variant) if cell.variant else 'the node'}{gpu}"


def _what(result: CellResult) -> str:
    bad = next((judgement for judgement in result.judgements if not judgement.outcome.is_good), None)
    if bad is not None:
        return one_line(figure_sentence(bad), _SENTENCE)
    return f"{check_title(result.cell.id)}: {one_line(spoken(result.reason), _SENTENCE)}"


def _missing(gaps: Sequence[Gap], reader: Reader) -> list[Section | None]:
    if not gaps:
        return []
    if reader is Reader.STEP:
        rows = tuple((str(gap), lines([code(one) for one in gap.commands])) for gap in gaps)
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
    return [listed(_MISSING, entries)]


def _closing(gap: Gap, title: str, most: int | None = None) -> tuple[Block, ...]:
    """The command that closes a gap, and the cells that are in it."""
    cells = Bullets(entries=tuple(map(code, gap.cells)), most=most, rest=BELOW)
    return (*([Verbatim(text=gap.fix)] if gap.fix else []), unfolding(title, cells))


def _pointer(diagnosis: Diagnosis | None) -> tuple[Block, ...]:
    return () if diagnosis is None else (Paragraph(words=("See: ", code(diagnosis.anchor))),)


def _waived(results: Iterable[CellResult], *, on_page: bool) -> list[Section | None]:
    """Who answers for what, until when, and what the cell is without it."""
    entries: list[tuple[Piece, ...]] = []
    for result in results:
        if result.waived is not None:
            without = f"without the waiver {result.waived.value}: "
            said = (code(result.cell.id), f": {result.waiver}")
            rest = Verbatim(text=without + cut(result.reason)) if on_page else code(result.reason)
            entries.append((*said, rest) if on_page else (*said, f"; {without}", rest))
    return [listed("Waived", entries)]


def _marginal(results: Iterable[CellResult]) -> list[Section | None]:
    entries = [(code(r.cell.id), ": ", code(r.reason)) for r in of_outcome(results, CellOutcome.MARGINAL)]
    return [listed("Marginal", entries)]


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
