"""Decides the outcome of one planned check from its evidence.

The worst of everything that was recorded counts, and missing records count against the check: it passes only where
setup, call and teardown each left a good report, every metric that it had to judge was judged, and no judgement is bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from plimsoll.evidence.encoding import RAISED_BY, read_diagnoses
from plimsoll.evidence.record import Cell, CellEvidence, GateRecord, Measured
from plimsoll.gate.skip import Skip
from plimsoll.judge.judgement import Judgement, Outcome, broken_bound
from plimsoll.symptoms.recognise import Diagnosis, Seen, recognise
from plimsoll.symptoms.surroundings import Surroundings
from plimsoll.verdict.waivers import Waiver

PHASES: Final = ("setup", "call", "teardown")
"""The phases of a test; each must leave a report."""


class CellOutcome(StrEnum):
    """The outcomes of a planned check."""

    PASS = "pass"  # noqa: S105  an outcome, not a password
    MARGINAL = "marginal"
    WAIVED = "waived"
    FAIL = "fail"
    SKIP = "skip"
    NOT_RUN = "not_run"

    @property
    def is_good(self) -> bool:
        """True for outcomes that a verdict may accept."""
        return self in (CellOutcome.PASS, CellOutcome.MARGINAL, CellOutcome.WAIVED)

    @property
    def is_gap(self) -> bool:
        """True where the check has no result."""
        return self in (CellOutcome.SKIP, CellOutcome.NOT_RUN)

    @property
    def word(self) -> str:
        """The word after a number: `2 passed`, `1 not run`."""
        return _WORDS[self]


_WORDS: Final = {
    CellOutcome.PASS: "passed",
    CellOutcome.MARGINAL: "marginal",
    CellOutcome.WAIVED: "waived",
    CellOutcome.FAIL: "failed",
    CellOutcome.SKIP: "skipped",
    CellOutcome.NOT_RUN: "not run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """The outcome of a check, with its reasons.

    `reason` is empty for a cell that passed, and has a line or more for each thing that is wrong. `code` and `fix` are
    the gate's, for a variant that it turned away. `duration` is in seconds over all phases, None where no phase was
    reported.
    """

    cell: Cell
    outcome: CellOutcome
    run_id: str | None = None
    """Its run, where several runs are judged as one."""
    waiver: Waiver | None = None
    """Set where the outcome is `waived`."""
    waived: CellOutcome | None = None
    """The outcome without the waiver; `reason` explains it."""
    reason: str = ""
    code: str | None = None
    fix: str | None = None
    judgements: tuple[Judgement, ...] = ()
    measurements: tuple[Measured, ...] = ()
    duration: float | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    """The symptoms of a check that failed or was skipped, the most specific first."""


WORST_FIRST: Final = (
    CellOutcome.FAIL,
    CellOutcome.NOT_RUN,
    CellOutcome.SKIP,
    CellOutcome.WAIVED,
    CellOutcome.MARGINAL,
    CellOutcome.PASS,
)
"""The order of precedence where there are several outcomes."""


UNPLANNED: Final = "it was not in the plan: nobody knows what else ran unplanned"
"""Why the result of a check does not count that did not fail. It does not make the node bad either: a plugin had it
asked, or the evidence has lost its plan."""


def result_of(
    cell: Cell,
    evidence: CellEvidence,
    gate: GateRecord | None = None,
    *,
    planned: bool = True,
    calls_are_recorded: bool = False,
    withheld: str = "",
    again: str | None = None,
    run_id: str | None = None,
) -> CellResult:
    """The outcome of one cell; `gate` is what the gate decided for its variant, where it was asked.

    `withheld` says why pytest did not run it, where that is known, and `again` is the command that runs it. Old
    evidence has no calls; where they are recorded, a reported pass needs exactly one clean call.
    """
    faults = _faults(evidence)
    skipped = [report for report in evidence.reports if report["outcome"] == "skipped"]
    code = fix = None
    if faults:
        outcome, reason = CellOutcome.FAIL, "\n".join(faults)
    elif not planned:
        outcome, reason = CellOutcome.NOT_RUN, UNPLANNED
    elif foreign := [report for report in evidence.reports if is_of_a_plugin(report)]:
        # It says nothing about the node, and what the plugin spoilt beside it nobody knows.
        plugin = foreign[0][RAISED_BY]
        outcome, fix = CellOutcome.NOT_RUN, f"run without the plugin: -p no:{plugin}"
        reason = f"the plugin {plugin}, which is none of the suite, raised an error of its own: {_failure(foreign[0])}"
    elif skipped:
        outcome, (code, reason, fix) = CellOutcome.SKIP, _skip(skipped[0], gate)
    elif withheld and not evidence.reports:
        outcome, reason, fix = CellOutcome.NOT_RUN, withheld, again or None
    elif missing := _missing_phase(evidence) or (_miscalled(evidence) if calls_are_recorded else ""):
        outcome, reason = CellOutcome.NOT_RUN, missing
    elif unjudged := _unjudged(cell, evidence):
        outcome, reason = CellOutcome.FAIL, f"not measured: {', '.join(unjudged)}"
    else:
        outcome, reason = _marginal_or_pass(evidence)
    return CellResult(
        cell=cell,
        outcome=outcome,
        run_id=run_id,
        reason=reason,
        code=code,
        fix=fix,
        judgements=evidence.judgements,
        measurements=evidence.measurements,
        duration=_duration(evidence),
        diagnoses=_diagnoses(evidence, reason, code) if outcome in (CellOutcome.FAIL, CellOutcome.SKIP) else (),
    )


def _diagnoses(evidence: CellEvidence, reason: str, code: str | None) -> tuple[Diagnosis, ...]:
    """The diagnoses that the run recorded, by its own catalogue. Older evidence without them is diagnosed now, by the
    shipped table and as on a bare machine, because its surroundings are unknown."""
    recorded = [found for report in evidence.reports if (found := read_diagnoses(report)) is not None]
    if recorded:
        return tuple({each.symptom: each for found in recorded for each in found}.values())
    bounds = next(filter(None, map(broken_bound, evidence.judgements)), {})
    known = {**bounds, **({} if code is None else {"skip": code})}
    return recognise(Seen(text=reason, evidence=known), place=Surroundings())


def _faults(evidence: CellEvidence) -> list[str]:
    """The reasons for a failure, figures first: they say more than the assertion that failed because of them."""
    figures = [str(judgement) for judgement in evidence.judgements if not judgement.outcome.is_good]
    if figures:
        figures += [f"cause: {cause}" for measured in evidence.measurements for cause in measured.causes]
        figures += [f"action: {measured.action}" for measured in evidence.measurements if measured.action]
    reports = []
    for report in evidence.reports:
        if report["outcome"] == "passed" and "wasxfail" in report:
            reports.append(f"passed though it was expected to fail ({report['wasxfail'] or 'no reason given'})")
        elif report["outcome"] not in ("passed", "skipped") and not (figures and report["when"] == "call"):
            reports += [] if is_of_a_plugin(report) else [_failure(report)]
    return figures + reports + _hidden_failures(evidence)


def is_of_a_plugin(report: Mapping[str, Any]) -> bool:
    """True for the error of another plugin beside the check; what is raised in the call itself is the check's."""
    return report["outcome"] == "failed" and report["when"] != "call" and isinstance(report.get(RAISED_BY), str)


def _hidden_failures(evidence: CellEvidence) -> list[str]:
    """Failures that pytest's report hides: the check was called again until it passed, or a plugin wrote another
    report."""
    if any(report["outcome"] != "passed" and not is_of_a_plugin(report) for report in evidence.reports):
        return []
    passed = any(report["when"] == "call" for report in evidence.reports)
    raised = [call.raised for call in evidence.calls if call.raised is not None]
    times = f"it was called {len(evidence.calls)} times, and a call" if len(evidence.calls) > 1 else "its call"
    return [f"{times} raised {raised[0]}, but pytest reports a pass"] if raised and passed else []


def _miscalled(evidence: CellEvidence) -> str:
    """Why a reported pass does not count, though no call failed."""
    if len(evidence.calls) == 1:
        return ""
    if evidence.calls:
        return f"it was called {len(evidence.calls)} times, and exactly one clean call counts"
    return "pytest reports a pass, but the check was never called"


def _failure(report: Mapping[str, Any]) -> str:
    text = crash_text(report).removeprefix("Failed: ") or f"pytest reports {report['outcome']!r}, and no reason"
    return text if report["when"] == "call" else f"{report['when']}: {text}"


def crash_text(report: Mapping[str, Any]) -> str:
    """The error of a phase from its serialised report; empty where there is none."""
    longrepr = report.get("longrepr")
    if isinstance(longrepr, str):
        return longrepr.strip()
    if isinstance(longrepr, Mapping):
        crash = longrepr.get("reprcrash")
        return str(crash.get("message", "")).strip() if isinstance(crash, Mapping) else ""
    if isinstance(longrepr, (list, tuple)) and longrepr:
        return str(longrepr[-1]).strip()
    return ""


def _skip(report: Mapping[str, Any], gate: GateRecord | None) -> tuple[str | None, str, str | None]:
    """Code, reason and fix. A test may lack something besides its variant, such as a dataset's rows, though the gate
    said run; its own report then has a skip of the same form."""
    if "wasxfail" in report:
        return "xfail", f"expected to fail ({report['wasxfail'] or 'no reason given'})", None
    if gate is not None and gate.decision == "skip":
        reason = f"has {gate.have}, needs {gate.need}" if gate.have and gate.need else gate.text or crash_text(report)
        return gate.code, reason, gate.fix
    text = crash_text(report).removeprefix("Skipped: ")
    if (skip := Skip.from_text(text)) is not None:
        return skip.code.value, f"has {skip.have}, needs {skip.need}", skip.fix
    return None, text or "skipped without a reason", None


def _missing_phase(evidence: CellEvidence) -> str:
    reported = {report["when"] for report in evidence.reports}
    if not reported:
        return "no report arrived"
    missing = [phase for phase in PHASES if phase not in reported]
    return f"no report of {' and '.join(missing)}" if missing else ""


def _unjudged(cell: Cell, evidence: CellEvidence) -> list[str]:
    judged = {judgement.measurement.metric for judgement in evidence.judgements}
    return [metric for metric in cell.measures if metric not in judged]


def _marginal_or_pass(evidence: CellEvidence) -> tuple[CellOutcome, str]:
    marginal = [str(judgement) for judgement in evidence.judgements if judgement.outcome is Outcome.MARGINAL]
    return (CellOutcome.MARGINAL, "\n".join(marginal)) if marginal else (CellOutcome.PASS, "")


def _duration(evidence: CellEvidence) -> float | None:
    seconds = [report["duration"] for report in evidence.reports if isinstance(report.get("duration"), (int, float))]
    return sum(seconds) if seconds else None


NOT_ASKED: Final = "not asked, because "
"""The beginning of the reason of a check that failed because an earlier one had: a model that did not load answers
none."""
_SETUP: Final = "setup: "


def cause_of(reason: str) -> str:
    """The cause that failed checks of one variant may share: the reason without the place where it was met."""
    return reason.removeprefix(_SETUP).removeprefix(NOT_ASKED).strip()


def was_not_asked(reason: str) -> bool:
    """True where a check failed before it asked anything. Two checks that asked and give the same reason failed
    independently."""
    return reason.startswith((_SETUP, NOT_ASKED))
