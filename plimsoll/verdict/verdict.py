"""Decides ACCEPTED, REJECTED or INCOMPLETE over a stated scope; nothing else decides it.

The verdict is computed from evidence, not from pytest's counts, so that it can be computed again, and so that nothing
that gets lost can improve it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plimsoll.evidence.record import RunHead, RunRecord
from plimsoll.suite import PYTEST, REPORT_DIR, command, going_on, with_folder_attached
from plimsoll.symptoms.recognise import Diagnosis
from plimsoll.units import counted
from plimsoll.verdict.cells import UNPLANNED, CellOutcome, CellResult
from plimsoll.verdict.faults import lasting_faults, record_faults, record_notes
from plimsoll.verdict.gpus import idle_gpus, left_out, on_gpus
from plimsoll.verdict.union import Conflict, lineages, run_results, united_results
from plimsoll.verdict.waivers import Waivers

EXIT_ACCEPTED: Final = 0
EXIT_REJECTED: Final = 1
EXIT_NOTHING_PLANNED: Final = 5
"""pytest's own status for "no tests collected"."""
EXIT_INCOMPLETE: Final = 6


class Word(StrEnum):
    """The verdict in one word."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    INCOMPLETE = "INCOMPLETE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Planned checks without a result for the same reason, and the command that closes the gap."""

    outcome: CellOutcome
    """`skip` or `not_run`."""
    code: str | None
    """The gate's code, where the gate turned the variants away."""
    reasons: tuple[str, ...]
    """The distinct variants, in the order of the plan."""
    fix: str | None
    """A command; a line for each node where several runs lack a result and each must be gone on with there."""
    cells: tuple[str, ...]
    diagnosis: Diagnosis | None = None
    """Their symptom, where one was recognised."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The lines of the fix."""
        return tuple((self.fix or "").splitlines())

    def __str__(self) -> str:
        """`20 cells skipped (no_gpu): needs 1 GPU, has none`."""
        code = f" ({self.code})" if self.code else ""
        more = f" (and {counted(len(self.reasons) - 1, 'more reason')})" if len(self.reasons) > 1 else ""
        return f"{counted(len(self.cells), 'check')} {self.outcome.word}{code}: {self.reasons[0]}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The word, with everything that it follows from."""

    word: Word
    scope: str
    """The scope, as a user would select it again: `-m tiny`."""
    planned: int
    results: tuple[CellResult, ...]
    """In the order of the plan; checks that ran unplanned come last."""
    gaps: tuple[Gap, ...]
    faults: tuple[str, ...]
    """Why the run cannot be accepted whatever its checks say: it did not finish, its evidence is damaged, ..."""
    notes: tuple[str, ...]
    """What a reader of the verdict must know, though it does not change the word."""
    allow_incomplete: bool
    conflicts: tuple[Conflict, ...] = ()
    """Checks that ended differently in several runs; `results` has the worst of each."""

    def count(self, outcome: CellOutcome) -> int:
        """The number of checks with this outcome."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def counts(self) -> tuple[tuple[CellOutcome, int], ...]:
        """The number of checks by outcome, as a text: waivers are mentioned only where there are some."""
        counts = [(outcome, self.count(outcome)) for outcome in CellOutcome]
        return tuple((outcome, n) for outcome, n in counts if n or outcome is not CellOutcome.WAIVED)

    @property
    def exit_status(self) -> int:
        """The exit status of a run that was not interrupted.

        `--allow-incomplete` excuses checks without a result, but neither an empty plan nor a fault: what such a run
        would have shown is unknown.
        """
        if self.word is Word.ACCEPTED:
            return EXIT_ACCEPTED
        if self.word is Word.REJECTED:
            return EXIT_REJECTED
        if not self.planned and not self.results:
            return EXIT_NOTHING_PLANNED
        return EXIT_ACCEPTED if self.allow_incomplete and not self.faults else EXIT_INCOMPLETE

    @property
    def statement(self) -> str:
        """The verdict in one line: `INCOMPLETE over -m tiny: 310 of 330 cells passed, 20 skipped`."""
        passed = "no plan was recorded" if self.results else "nothing was planned"
        if self.planned:
            passed = f"{self.count(CellOutcome.PASS)} of {counted(self.planned, 'check')} passed"
        counts = "".join(f", {n} {outcome.word}" for outcome, n in self.counts if n and outcome is not CellOutcome.PASS)
        more = f" (and {counted(len(self.faults) - 1, 'more fault')})" if len(self.faults) > 1 else ""
        # The text of a fault up to its first semicolon says what is wrong; the rest, what to do, is too long for this
        # line.
        first = self.faults[0].partition("; ")[0] if self.faults else ""
        fault = f"; {first}{more}" if first and self.word is not Word.REJECTED else ""
        return f"{self.word} over {self.scope}: {passed}{counts}{fault}"


def reach_verdict(record: RunRecord, evidence_failure: str | None = None, waivers: Waivers | None = None) -> Verdict:
    """The verdict on a run, or on several as one.

    `evidence_failure` is what `EvidenceWriter.failure` says at its end. `waivers` take the place of those that the
    runs were given.
    """
    union = united_results(record, waivers)
    faults = (
        *record_faults(record),
        *idle_gpus(record),
        *union.faults,
        *([evidence_failure] if evidence_failure else []),
    )
    return Verdict(
        word=_word(len(record.plan), union.results, faults),
        scope=scope_of(record),
        planned=len(record.plan),
        results=union.results,
        gaps=_gaps(union.results, _commands(record)),
        faults=faults,
        notes=(*record_notes(record), *left_out(record), *union.notes),
        allow_incomplete=record.run is not None and record.run.allow_incomplete,
        conflicts=union.conflicts,
    )


def scope_of(record: RunRecord) -> str:
    """The options that select the scope again, and on how many of the node's GPUs, where there are several; each
    distinct scope of several runs once."""
    return " + ".join(dict.fromkeys(f"{_scope(run.run)}{on_gpus(run, record.runs)}" for run in record.runs))


def _scope(run: RunHead | None) -> str:
    """`the whole suite` where nothing was selected."""
    if run is None:
        return "an unknown selection"
    options = [("-m", run.selection.get("mark")), ("-k", run.selection.get("keyword"))]
    words = [f"{option} {shlex.quote(str(value))}" for option, value in options if value]
    words += [shlex.quote(str(path)) for path in run.selection.get("paths") or ()]
    altering = [
        f"--{name.replace('_', '-')}={shlex.quote(str(one))}"
        for name, value in (run.selection.get("options") or {}).items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return " ".join([*(words or ["the whole suite"]), *altering])


def _word(planned: int, results: Sequence[CellResult], faults: Sequence[str]) -> Word:
    if any(result.outcome is CellOutcome.FAIL for result in results):
        return Word.REJECTED
    if planned and not faults and all(result.outcome.is_good for result in results):
        return Word.ACCEPTED
    return Word.INCOMPLETE


def _commands(record: RunRecord) -> list[tuple[frozenset[str], str]]:
    """What was not run in each run, with those that went on with it, and the command that runs it. Of several,
    which may be of several nodes, each command says where it belongs."""
    lines = lineages(record.runs)
    found = []
    for line in lines:
        newest = line[-1]
        again = _again(newest) if len(line) == 1 else _going_on_with(newest)
        if again is not None:
            name = "" if len(lines) == 1 or newest.node is None else " ".join(newest.node.hostname.split())
            found.append((_not_run(line), f"{again} # on {name}" if name else again))
    return found


def _not_run(line: Sequence[RunRecord]) -> frozenset[str]:
    results = [result for run in line for result in run_results(run)]
    answered = {result.cell.id for result in results if not result.outcome.is_gap}
    return frozenset(r.cell.id for r in results if r.outcome is CellOutcome.NOT_RUN) - answered


def _going_on_with(run: RunRecord) -> str:
    return f"{PYTEST if run.run is None else run.run.program} --resume={run.run_id}"


def _again(record: RunRecord) -> str | None:
    """The command that runs what one run did not run. A run that was cut short is resumed: what it measured need not be
    measured again."""
    if record.run is None:
        return None
    was_cut = record.finish is None or record.finish.interrupted
    if was_cut and record.node is not None and not lasting_faults(record):
        return command(record.run.program, f"--resume={record.run_id}", *_reports_folder(record.run.arguments))
    return command(record.run.program, *going_on(record.run.arguments))


def _reports_folder(arguments: Sequence[str]) -> list[str]:
    """The option that says where the runs lie, where it was given."""
    return [one for one in with_folder_attached(arguments) if one.startswith(f"{REPORT_DIR}=")][-1:]


def _gaps(results: Sequence[CellResult], commands: Sequence[tuple[frozenset[str], str]]) -> tuple[Gap, ...]:
    """Checks without a result, grouped by what would close the gap: the gate's code and fix, else the reason."""
    groups: dict[tuple[CellOutcome, str | None, str | None], list[CellResult]] = {}
    for result in results:
        if result.outcome.is_gap:
            groups.setdefault((result.outcome, result.code or result.reason, result.fix), []).append(result)
    return tuple(
        Gap(
            outcome=outcome,
            code=group[0].code,
            reasons=tuple(dict.fromkeys(result.reason for result in group)),
            fix=fix or (_closing(group, commands) if outcome is CellOutcome.NOT_RUN else None),
            cells=tuple(result.cell.id for result in group),
            diagnosis=next((each for result in group for each in result.diagnoses), None),
        )
        for (outcome, _, fix), group in groups.items()
    )


def _closing(group: Sequence[CellResult], commands: Sequence[tuple[frozenset[str], str]]) -> str | None:
    """The commands of the runs that lack some of these; None for what ran unplanned and would do so again."""
    if group[0].reason == UNPLANNED:
        return None
    lacking = {result.cell.id for result in group}
    return "\n".join(again for cells, again in commands if not cells.isdisjoint(lacking)) or None
