"""The last lines of a run on a terminal: what failed, what is missing, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.present import terminal
from plimsoll.present.document import BREAK, Bullets, Section, Words
from plimsoll.present.foreign_text import one_line
from plimsoll.report.failures import causes_of
from plimsoll.report.manual import manual_step
from plimsoll.report.pieces import of_outcome
from plimsoll.report.story import spoken
from plimsoll.units import counted
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.union import Conflict
from plimsoll.verdict.verdict import Gap, Verdict

_MOST_FAILURES: Final = 8
_MOST_OTHERS: Final = 3
"""What a terminal shows of failures, and of gaps, waivers and notes, so that the last lines fit one screen with the
verdict; the summary has all of them."""
_COMMAND: Final = "to run them: "
_FOLDER: Final = "evidence and reports: "
_TO_COPY: Final = (_COMMAND, _FOLDER)
"""Beginnings of lines that somebody copies the rest of."""


def closing_lines(record: RunRecord, verdict: Verdict, reports: object = None) -> list[str]:
    """The last lines on a terminal, for the caller to colour and to fit: the verdict is always the last.

    `reports` is the folder where the whole story lies, the run's own unless given.
    """
    folder = reports or record.folder
    counts = ", ".join(f"{count} {outcome.word}" for outcome, count in verdict.counts)
    found = (
        ("failed", _failures_by_cause(of_outcome(verdict.results, CellOutcome.FAIL))),
        ("what to do", _steps(of_outcome(verdict.results, CellOutcome.FAIL))),
        ("missing", [_brief_gap(gap) for gap in verdict.gaps]),
        (
            "waived",
            [
                _brief(result, f" ({result.waived.value}): ", str(result.waiver))
                for result in verdict.results
                if result.waived is not None
            ],
        ),
        ("conflicts, of which the worst counts", _conflicts(verdict.conflicts)),
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
    return [*lines, terminal.line(f"{_FOLDER}{folder}"), terminal.line(verdict.statement)]


def fitted(line: str, width: int | None) -> list[str]:
    """One of these lines as a terminal of so many columns has it: broken between words, a command whole."""
    return [line] if line.lstrip().startswith(_TO_COPY) else terminal.wrapped(line, width)


def _failures_by_cause(failed: Iterable[CellResult]) -> list[Words]:
    """Each cause of a variant once: a model that did not load fails all of its checks alike."""
    return [_failed_alike(*results) for results in causes_of(failed)]


def _failed_alike(first: CellResult, *others: CellResult) -> Words:
    more = f"{_more(others)} of {first.cell.variant or 'the node'}" if others else ""
    return (one_line(first.cell.id), f"{more}: ", one_line(spoken(first.reason)))


def _conflicts(conflicts: Iterable[Conflict]) -> list[str]:
    """Those that differ between the same runs in the same way together."""
    alike: dict[str, list[Conflict]] = {}
    for conflict in conflicts:
        alike.setdefault(conflict.told, []).append(conflict)
    return [f"{first.cell}{_more(others)}: {told}" for told, (first, *others) in alike.items()]


def _more(others: Sequence[object]) -> str:
    return f" and {counted(len(others), 'other check')}" if others else ""


def _brief(result: CellResult, between: str, text: str) -> tuple[str, ...]:
    return (one_line(result.cell.id), between, one_line(text))


def _steps(failed: Sequence[CellResult]) -> list[Words]:
    """The next step of each symptom that failures show, once, with where more is written, and the checks' pages."""
    first = {each.symptom: each for result in failed for each in result.diagnoses[:1]}
    return [*(f"{each.title}: {each.next} ({each.anchor})" for each in first.values()), *manual_step(failed)]


def _brief_gap(gap: Gap) -> Words:
    see = f" (see {gap.diagnosis.anchor})" if gap.diagnosis is not None else ""
    return (one_line(str(gap)), see, *(word for one in gap.commands for word in (BREAK, f"{_COMMAND}{one}")))
