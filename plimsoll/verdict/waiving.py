"""Applies waivers to results: a covered check without a good result becomes `waived`, and keeps what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from plimsoll.evidence.record import RecordedWaivers
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.waivers import WaiverError, Waivers, parse_waivers


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived:
    """Results after waivers. `faults` say which waivers are wrong."""

    results: tuple[CellResult, ...]
    faults: tuple[str, ...] = ()
    unneeded: Mapping[str, str] = field(default_factory=dict)
    """Id of a check that is good without its waiver -> a sentence that says so."""


def waive(results: Sequence[CellResult], waivers: Waivers | None, planned: frozenset[str]) -> Waived:
    """Apply waivers to the results of planned checks. An unplanned check cannot be waived: nobody knows what else ran
    unplanned.
    """
    if waivers is None:
        return Waived(results=tuple(results))
    after, unneeded = [], {}
    for result in results:
        waiver = waivers.covering(result.cell.id) if result.cell.id in planned else None
        if waiver is None:
            after.append(result)
        elif result.outcome.is_good:
            after.append(result)
            unneeded[result.cell.id] = (
                f"{waiver.where} waives {result.cell.id}, which {_did(result.outcome)} without it"
            )
        else:
            after.append(replace(result, outcome=CellOutcome.WAIVED, waiver=waiver, waived=result.outcome))
    return Waived(
        results=tuple(after),
        faults=tuple(str(fault) for fault in waivers.faults_over(planned)),
        unneeded=unneeded,
    )


def recorded_waivers(recorded: RecordedWaivers | None) -> tuple[Waivers | None, tuple[str, ...]]:
    """The waivers that a run was given, as of its day, and what is wrong with them: they were sound when they were
    recorded, so a fault here means that the evidence was changed."""
    if recorded is None:
        return None, ()
    try:
        return parse_waivers(recorded.text, recorded.path, recorded.on), ()
    except WaiverError as error:
        return None, tuple(str(fault) for fault in error.faults)


def _did(outcome: CellOutcome) -> str:
    return "passed" if outcome is CellOutcome.PASS else f"is {outcome.word}"
