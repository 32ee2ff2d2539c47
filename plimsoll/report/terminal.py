"""The last lines of a run on a terminal: what was planned, what failed, what is missing and how to get it, the verdict.

Plain lines, for the caller to colour; the verdict is always the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.present.foreign_text import one_line
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Verdict, counted

_MOST_LINES: Final = 10
"""Failures, and gaps, that are shown; the summary has all of them."""

_LONGEST: Final = 2000
"""Characters of a line that may hold a command, which is of no use when it is cut."""


def closing_lines(record: RunRecord, verdict: Verdict, reports: Path | None = None) -> list[str]:
    """The lines; `reports` is the folder where the whole story lies, the run's own unless given."""
    summary = (reports or record.folder) / "summary.md"
    return [
        _counts(verdict),
        *_failures(verdict, summary),
        *_gaps(verdict, summary),
        *_waived(verdict, summary),
        *_list(
            "conflicts, of which the worst counts", [one_line(str(c), _LONGEST) for c in verdict.conflicts], summary
        ),
        *_list("not to be accepted, because", [one_line(fault, _LONGEST) for fault in verdict.faults], summary),
        *(f"note: {one_line(note, _LONGEST)}" for note in verdict.notes),
        f"evidence and reports: {reports or record.folder}",
        one_line(verdict.statement, _LONGEST),
    ]


def _counts(verdict: Verdict) -> str:
    parts = [f"{count} {outcome.word}" for outcome, count in verdict.counts]
    return f"planned {counted(verdict.planned, 'cell')}: {', '.join(parts)}"


def _failures(verdict: Verdict, summary: Path) -> list[str]:
    failed = [result for result in verdict.results if result.outcome is CellOutcome.FAIL]
    return _list("failed", [f"{one_line(r.cell.id)}: {one_line(r.reason)}" for r in failed], summary)


def _gaps(verdict: Verdict, summary: Path) -> list[str]:
    lines = [
        f"{one_line(str(gap))}" + (f"\n    to run them: {one_line(gap.fix, _LONGEST)}" if gap.fix else "")
        for gap in verdict.gaps
    ]
    return _list("missing", lines, summary)


def _waived(verdict: Verdict, summary: Path) -> list[str]:
    lines = [
        f"{one_line(result.cell.id)} ({result.waived.value}): {one_line(str(result.waiver))}"
        for result in verdict.results
        if result.waived is not None
    ]
    return _list("waived", lines, summary)


def _list(title: str, entries: Sequence[str], summary: Path) -> list[str]:
    if not entries:
        return []
    more = len(entries) - _MOST_LINES
    shown = [line for entry in entries[:_MOST_LINES] for line in f"  {entry}".split("\n")]
    return [f"{title}:", *shown, *([f"  and {more} more, see {summary}"] if more > 0 else [])]
