"""ACCEPTED, REJECTED or INCOMPLETE over a stated scope: the one place where the word is decided.

It is computed from the evidence that was written, not from what pytest counted, so that it can be computed again, and
so that nothing which got lost on the way can make it better.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plimsoll.evidence.record import Cell, RunHead, RunRecord
from plimsoll.verdict.cells import CellOutcome, CellResult, result_of

EXIT_ACCEPTED: Final = 0
EXIT_REJECTED: Final = 1
EXIT_NOTHING_PLANNED: Final = 5
"""pytest's own status for "no tests collected"."""
EXIT_INCOMPLETE: Final = 6

_UNREMARKABLE_ENDS: Final = (0, 1, 5)
"""pytest's statuses for a session that went through: all passed, some failed, nothing collected."""


class Word(StrEnum):
    """The verdict in one word."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    INCOMPLETE = "INCOMPLETE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Planned cells that have no result for the same reason, and the command that closes the gap."""

    outcome: CellOutcome
    """`skip` or `not_run`."""
    code: str | None
    """The gate's code, where the gate turned the variants away."""
    reasons: tuple[str, ...]
    """Distinct ones, in the order of the plan."""
    fix: str | None
    cells: tuple[str, ...]

    def __str__(self) -> str:
        """`20 cells skipped (no_gpu): needs 1 GPU, has none`."""
        code = f" ({self.code})" if self.code else ""
        more = f" (and {counted(len(self.reasons) - 1, 'more reason')})" if len(self.reasons) > 1 else ""
        return f"{counted(len(self.cells), 'cell')} {self.outcome.word}{code}: {self.reasons[0]}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The word, and everything that it rests on."""

    word: Word
    scope: str
    """What it speaks of, as a user would select it again: `-m tiny`."""
    planned: int
    results: tuple[CellResult, ...]
    """In the order of the plan; cells that ran unplanned come last."""
    gaps: tuple[Gap, ...]
    faults: tuple[str, ...]
    """Why the run cannot be accepted whatever its cells say: it did not finish, its evidence is damaged, ..."""
    notes: tuple[str, ...]
    """What a reader of the verdict must know, though it does not change the word."""
    allow_incomplete: bool

    def count(self, outcome: CellOutcome) -> int:
        """The number of cells that ended so."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def exit_status(self) -> int:
        """The exit status of a run that was not interrupted.

        `--allow-incomplete` excuses cells that have no result. It does not excuse an empty plan, nor a fault: of such
        a run nobody knows what it would have shown.
        """
        if self.word is Word.ACCEPTED:
            return EXIT_ACCEPTED
        if self.word is Word.REJECTED:
            return EXIT_REJECTED
        if not self.planned:
            return EXIT_NOTHING_PLANNED
        return EXIT_ACCEPTED if self.allow_incomplete and not self.faults else EXIT_INCOMPLETE

    @property
    def statement(self) -> str:
        """The verdict in one line: `INCOMPLETE over -m tiny: 310 of 330 cells passed, 20 skipped`."""
        passed = "nothing was planned"
        if self.planned:
            passed = f"{self.count(CellOutcome.PASS)} of {counted(self.planned, 'cell')} passed"
        others = (CellOutcome.MARGINAL, CellOutcome.FAIL, CellOutcome.SKIP, CellOutcome.NOT_RUN)
        counts = "".join(f", {self.count(o)} {o.word}" for o in others if self.count(o))
        more = f" (and {counted(len(self.faults) - 1, 'more fault')})" if len(self.faults) > 1 else ""
        # A fault says what is wrong before its first semicolon, and what to do after it: too long for this line.
        first = self.faults[0].partition("; ")[0] if self.faults else ""
        fault = f"; {first}{more}" if first and self.word is not Word.REJECTED else ""
        return f"{self.word} over {self.scope}: {passed}{counts}{fault}"


def reach_verdict(record: RunRecord, evidence_failure: str | None = None) -> Verdict:
    """The verdict on a run; `evidence_failure` is what `EvidenceWriter.failure` says at its end."""
    results = cell_results(record)
    faults = (*_run_faults(record, results), *([evidence_failure] if evidence_failure else []))
    return Verdict(
        word=_word(len(record.plan), results, faults),
        scope=scope_text(record.run),
        planned=len(record.plan),
        results=results,
        gaps=_gaps(results, record.run),
        faults=faults,
        notes=_notes(record),
        allow_incomplete=record.run is not None and record.run.allow_incomplete,
    )


def cell_results(record: RunRecord) -> tuple[CellResult, ...]:
    """The result of every planned cell in the order of the plan, then of every cell that ran without a plan."""
    planned = {cell.id: cell for cell in record.plan}
    results = [result_of(c, record.evidence_of(c), record.gates.get(c.variant or "")) for c in planned.values()]
    unplanned = [Cell(id=id_) for id_ in record.cells if id_ not in planned]
    return (*results, *(result_of(cell, record.evidence_of(cell), planned=False) for cell in unplanned))


def scope_text(run: RunHead | None) -> str:
    """The selection, as the options that make it again; `the whole suite` where nothing was selected."""
    if run is None:
        return "an unknown selection"
    options = [("-m", run.selection.get("mark")), ("-k", run.selection.get("keyword"))]
    words = [f"{option} {shlex.quote(str(value))}" for option, value in options if value]
    words += [shlex.quote(str(path)) for path in run.selection.get("paths") or ()]
    return " ".join(words) or "the whole suite"


def counted(count: int, noun: str) -> str:
    """`1 cell`, `330 cells`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _word(planned: int, results: Sequence[CellResult], faults: Sequence[str]) -> Word:
    if any(result.outcome is CellOutcome.FAIL for result in results):
        return Word.REJECTED
    if planned and not faults and all(result.outcome.is_good for result in results):
        return Word.ACCEPTED
    return Word.INCOMPLETE


def _run_faults(record: RunRecord, results: Sequence[CellResult]) -> list[str]:
    faults = []
    if record.run is None:
        faults.append("the first line of the evidence is missing: nobody knows what was asked for")
    if record.finish is None:
        faults.append("the run did not finish: it was killed, or its last line is lost")
    elif record.finish.interrupted or record.finish.exitstatus not in _UNREMARKABLE_ENDS:
        reason = record.finish.reason or f"pytest's exit status was {record.finish.exitstatus}"
        faults.append(f"the run was cut short: {reason}")
    elif record.finish.exitstatus and record.plan and not any(r.outcome is CellOutcome.FAIL for r in results):
        faults.append(f"pytest's exit status was {record.finish.exitstatus}, but the evidence shows no failure")
    if record.node is None:
        faults.append("the node was not recorded: nobody knows what the figures belong to")
    if record.collect_errors:
        first = record.collect_errors[0].nodeid
        faults.append(f"{counted(len(record.collect_errors), 'file')} could not be collected, the first is {first}")
    return [*faults, *record.faults]


def _gaps(results: Sequence[CellResult], run: RunHead | None) -> tuple[Gap, ...]:
    """Cells without a result by what would close the gap: the gate's code and fix, else the reason."""
    groups: dict[tuple[CellOutcome, str | None, str | None], list[CellResult]] = {}
    for result in results:
        if result.outcome in (CellOutcome.SKIP, CellOutcome.NOT_RUN):
            groups.setdefault((result.outcome, result.code or result.reason, result.fix), []).append(result)
    again = None if run is None else shlex.join(["pytest", *run.arguments])
    return tuple(
        Gap(
            outcome=outcome,
            code=group[0].code,
            reasons=tuple(dict.fromkeys(result.reason for result in group)),
            fix=again if outcome is CellOutcome.NOT_RUN else fix,
            cells=tuple(result.cell.id for result in group),
        )
        for (outcome, _, fix), group in groups.items()
    )


def _notes(record: RunRecord) -> tuple[str, ...]:
    notes = []
    if record.run is not None and not record.run.limits_are_shipped:
        own = [str(file.get("path")) for file in record.run.catalogues if not file.get("shipped")]
        notes.append(f"limits are not the shipped ones: {', '.join(own) or 'a catalogue of the user took part'}")
    if record.run is not None and record.run.allow_incomplete:
        notes.append("--allow-incomplete was used: cells without a result do not change the exit status")
    synthetic = Counter(cell.weights for cell in record.plan)["synthetic"]
    if synthetic:
        notes.append(
            f"weights are synthetic in {synthetic} of {counted(len(record.plan), 'cell')}: load time from disk and "
            "meaning of the text are not judged there"
        )
    if record.deselected:
        notes.append(f"deselected, and so not in this scope: {counted(record.deselected, 'cell')}")
    return tuple(notes)
