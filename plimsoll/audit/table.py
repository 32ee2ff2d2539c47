"""Shows an audit as text, gravest first, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from plimsoll.audit.auditing import AuditFinding, Status
from plimsoll.catalogue.entries import LimitedSide
from plimsoll.present.document import Bullets, Section, lines
from plimsoll.present.terminal import section_lines
from plimsoll.units import format_value

GRAVEST_FIRST: Final = (
    Status.IMPOSSIBLE,
    Status.REFUTED,
    Status.TIGHT,
    Status.PLAUSIBLE,
    Status.CONFIRMED,
    Status.UNJUDGED,
)
TOLD: Final = (Status.IMPOSSIBLE, Status.REFUTED, Status.TIGHT)
"""The statuses for which the table says what to write instead."""
_REST: Final = "sources, grounds and the other claims: plimsoll audit --all"
_NAMED: Final = 6
_HANG: Final = 4


def render(findings: Sequence[AuditFinding], everything: bool = False) -> str:
    """The counts, what is not honest, and a line for each claim that is to be corrected or was measured; or
    `everything`: all findings by status with sources and grounds, those of one claim that rest on alike grounds
    together."""
    counts = Counter(finding.status for finding in findings)
    counted = ", ".join(f"{counts[status]} {status}" for status in GRAVEST_FIRST if counts[status])
    sections = [
        _section(status, [f for f in findings if f.status is status], everything or status in TOLD, everything)
        for status in GRAVEST_FIRST
    ]
    blocks = ["\n".join(section_lines(section)) for section in (_dishonest(findings), *sections) if section.blocks]
    return "\n\n".join([f"{len(findings)} claims: {counted}", *blocks, *([] if everything else [_REST])])


def _section(status: Status, findings: Sequence[AuditFinding], all_of_them: bool, in_full: bool) -> Section:
    shown = findings if all_of_them else [finding for finding in findings if finding.measured]
    entries = tuple(lines(_lines(alike)) if in_full else _line(alike) for alike in _together(shown))
    title = f"{status} ({len(findings)})" if all_of_them else f"{status} ({len(findings)}), of which measured"
    return Section(title=title, blocks=(Bullets(entries=entries, hang=_HANG),) if entries else ())


def _together(findings: Iterable[AuditFinding]) -> list[list[AuditFinding]]:
    """Findings about one claim; what is said of each variant differs only where the claim is in doubt."""
    groups: dict[tuple[object, ...], list[AuditFinding]] = {}
    for finding in findings:
        own = finding.bounds if finding.status in TOLD or finding.measured else None
        groups.setdefault((id(finding.claim), own, finding.measured), []).append(finding)
    return list(groups.values())


def _lines(alike: Sequence[AuditFinding]) -> list[str]:
    finding = alike[0]
    claim = finding.claim
    quote = f': "{claim.quote}"' if claim.quote else ""
    told = [_claimed(alike), f"{claim.source}{quote}"]
    if finding.status is Status.UNJUDGED or finding.status in TOLD:
        told.append(finding.bounds.basis)
    told += _measured_and_better(finding)
    if instead(finding):
        return told
    if finding.apart and finding.bounds.expected is not None:
        expected = format_value(finding.bounds.expected, claim.unit)
        told.append(f"predicted {expected}, {abs(finding.apart):.1%} {'below' if finding.apart < 0 else 'above'}")
    return told


def _line(alike: Sequence[AuditFinding]) -> str:
    return "; ".join([_claimed(alike), *_measured_and_better(alike[0])])


def _claimed(alike: Sequence[AuditFinding]) -> str:
    finding = alike[0]
    names = [name for one in alike for name in one.variants]
    joined = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    disputed = ", disputed" if finding.claim.disputed is not None else ""
    return f"{finding.claim.metric} of {joined}: {finding.said}{disputed}"


def _measured_and_better(finding: AuditFinding) -> list[str]:
    measured = [format_value(value, finding.claim.unit) for value in finding.measured]
    better = instead(finding)
    return [
        *([f"measured {', '.join(measured)}"] if measured else []),
        *([f"write instead: {better}"] if better else []),
    ]


def instead(finding: AuditFinding) -> str:
    """What to write instead; empty where the claim may stand, and for a document's measurement, which is no promise."""
    measured_by_others = finding.claim.limits is LimitedSide.NONE
    return finding.bounds.instead if finding.status in TOLD and not measured_by_others else ""


def _dishonest(findings: Sequence[AuditFinding]) -> Section:
    """Claims whose dispute contradicts the arithmetic."""
    entries = tuple(
        f"{f.claim.origin}: {f.claim.metric} of {', '.join(f.variants)} is {f.status} and "
        f"{'disputed' if f.claim.disputed is not None else 'not disputed'}"
        for f in findings
        if not f.is_honest
    )
    return Section(
        title="disputes that do not go with the arithmetic: correct the claim, or the prediction",
        blocks=(Bullets(entries=entries),) if entries else (),
    )


def to_json(findings: Sequence[AuditFinding]) -> dict[str, Any]:
    """All findings as JSON data, figures in base units; null where nothing is known."""
    counts = Counter(finding.status for finding in findings)
    return {
        "counts": {status.value: counts[status] for status in GRAVEST_FIRST},
        "findings": [_finding_to_json(finding) for finding in findings],
    }


def _finding_to_json(finding: AuditFinding) -> Mapping[str, Any]:
    claim, bounds = finding.claim, finding.bounds
    return {
        "status": finding.status.value,
        "variants": list(finding.variants),
        "metric": claim.metric,
        "unit": claim.unit,
        "low": claim.low,
        "high": claim.high,
        "conditions": dict(claim.conditions),
        "source": claim.source,
        "quote": claim.quote,
        "disputed": claim.disputed,
        "honest": finding.is_honest,
        "predicted": {"least": bounds.least, "expected": bounds.expected, "most": bounds.most},
        "measured": list(finding.measured),
        "basis": bounds.basis,
        "write_instead": instead(finding) or None,
    }
