"""The section with the audit of claims: what documents say of the run's variants, and what became of it.

Claims that cannot be, or that were measured otherwise, come first and stand open; those that may stand fold away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from plimsoll.audit.auditing import Finding, Status
from plimsoll.audit.recorded import recorded_findings
from plimsoll.audit.table import GRAVEST_FIRST, TOLD, instead
from plimsoll.evidence.record import RunRecord
from plimsoll.metrics import METRICS
from plimsoll.present.html_elements import cell, safe, unfolding, wide_table
from plimsoll.report.section import Section
from plimsoll.units import format_value

_HEAD: Final = ("Figure", "Variants", "The document says", "Measured", "Predicted", "Source")
_NAMED: Final = 4
"""Variants of one claim that stand at a glance; the others unfold."""


def claims_section(record: RunRecord) -> Section | None:
    """Every recorded claim about the planned variants; None where an early run did not record them."""
    findings = recorded_findings(record)
    if not findings:
        return None
    counts = Counter(finding.status for finding in findings)
    summary = ", ".join(f"{counts[status]} {status}" for status in GRAVEST_FIRST if counts[status])
    parts = [f"<p>What documents say of these variants, each with its source: {safe(summary)}.</p>"]
    parts += [_status(status, [f for f in findings if f.status is status]) for status in GRAVEST_FIRST]
    return Section(title="Claims of documents, audited", html="".join(parts))


def _status(status: Status, findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    rows = [_row(alike) for alike in _alike(findings)]
    table = wide_table(f"Claims that are {status}", _HEAD, rows)
    return unfolding(f"<h4>{safe(status.value)} ({len(findings)})</h4>", table, is_open=status in TOLD)


def _alike(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings on the same words; what is said of each variant differs only where the claim is in doubt."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        claim = finding.claim
        said = (claim.metric, claim.low, claim.high, claim.source, claim.quote, tuple(claim.conditions.items()))
        own = (finding.bounds, finding.measured) if finding.status in TOLD else None
        groups.setdefault((said, own), []).append(finding)
    return list(groups.values())


def _row(alike: Sequence[Finding]) -> list[str]:
    finding = alike[0]
    claim = finding.claim
    conditions = ", ".join(f"{name} {value}" for name, value in claim.conditions.items())
    disputed = f'<br><span class="plimsoll-source">disputed: {safe(claim.disputed)}</span>' if claim.disputed else ""
    quote = f"<br><q>{safe(claim.quote)}</q>" if claim.quote else ""
    return [
        f'<th scope="row" title="{safe(METRICS[claim.metric].meaning)}">{claim.metric}</th>',
        f'<td class="plimsoll-variants">{_variants([name for one in alike for name in one.variants])}</td>',
        f"<td>{safe(finding.said)}{f' ({safe(conditions)})' if conditions else ''}{disputed}</td>",
        cell(_measured(alike)),
        cell(_predicted(alike)),
        f"<td>{safe(claim.source)}{quote}</td>",
    ]


def _variants(names: Sequence[str]) -> str:
    shown = "<br>".join(map(safe, names[:_NAMED]))
    if len(names) <= _NAMED:
        return shown
    return shown + unfolding(f"and {len(names) - _NAMED} more", "<br>".join(map(safe, names[_NAMED:])))


def _measured(alike: Sequence[Finding]) -> str:
    values = [value for finding in alike for value in finding.measured]
    return _range(values, alike[0].claim.unit) if values else "–"


def _predicted(alike: Sequence[Finding]) -> str:
    if (better := instead(alike[0])) and len(alike) == 1:
        return f"write instead: {better}"
    expected = [finding.bounds.expected for finding in alike if finding.bounds.expected is not None]
    return _range(expected, alike[0].claim.unit) if expected else alike[0].bounds.basis


def _range(values: Sequence[float], unit: str) -> str:
    low, high = (format_value(value, unit) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
