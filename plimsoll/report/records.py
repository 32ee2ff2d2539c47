"""The reference sections of report.html: the audit of claims, every load, the stack and the environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from plimsoll.audit.auditing import AuditFinding, Status
from plimsoll.audit.recorded import recorded_findings
from plimsoll.audit.table import GRAVEST_FIRST, TOLD, instead
from plimsoll.evidence.record import RunRecord
from plimsoll.metrics import METRICS
from plimsoll.present.document import (
    BREAK,
    Block,
    Cell,
    Facts,
    Fold,
    Inline,
    Number,
    Paragraph,
    Section,
    Span,
    Style,
    Table,
    columns,
    faint,
    lines,
)
from plimsoll.report.node_card import distinct_nodes
from plimsoll.suite import command as typed
from plimsoll.units import counted, format_value

_CLAIMS: Final = columns("Figure", "Variants", "The document says", "Measured", "Predicted", "Source")
_NAMED: Final = 4
"""Variants of one claim that stand at a glance; the others unfold."""


def claims_section(record: RunRecord) -> Section | None:
    """Every recorded claim about the planned variants; None where an early run did not record them.

    Claims that cannot be, or that were measured otherwise, come first and stand open; those that may stand fold away.
    """
    findings = recorded_findings(record)
    if not findings:
        return None
    counts = Counter(finding.status for finding in findings)
    summary = ", ".join(f"{counts[status]} {status}" for status in GRAVEST_FIRST if counts[status])
    return Section(
        title="Claims of documents, audited",
        fold=Fold.OPEN,
        blocks=(
            Paragraph(words=f"What documents say of these variants, each with its source: {summary}."),
            *(_status(status, found) for status in GRAVEST_FIRST if (found := _having(status, findings))),
        ),
    )


def _having(status: Status, findings: Iterable[AuditFinding]) -> list[AuditFinding]:
    return [finding for finding in findings if finding.status is status]


def _status(status: Status, findings: Sequence[AuditFinding]) -> Section:
    rows = tuple(_claim(alike) for alike in _alike(findings))
    return Section(
        title=f"{status.value} ({len(findings)})",
        level=2,
        fold=Fold.OPEN if status in TOLD else Fold.CLOSED,
        blocks=(Table(label=f"Claims that are {status}", columns=_CLAIMS, rows=rows),),
    )


def _alike(findings: Iterable[AuditFinding]) -> list[list[AuditFinding]]:
    """Findings on the same words; what is said of each variant differs only where the claim is in doubt."""
    groups: dict[tuple[object, ...], list[AuditFinding]] = {}
    for finding in findings:
        claim = finding.claim
        said = (claim.metric, claim.low, claim.high, claim.source, claim.quote, tuple(claim.conditions.items()))
        own = (finding.bounds, finding.measured) if finding.status in TOLD else None
        groups.setdefault((said, own), []).append(finding)
    return list(groups.values())


def _claim(alike: Sequence[AuditFinding]) -> tuple[Cell, ...]:
    finding = alike[0]
    claim = finding.claim
    conditions = ", ".join(f"{name} {value}" for name, value in claim.conditions.items())
    said = f"{finding.said}{f' ({conditions})' if conditions else ''}"
    return (
        Span(text=claim.metric, title=METRICS[claim.metric].meaning),
        _variants([name for one in alike for name in one.variants]),
        (said, *((BREAK, faint(f"disputed: {claim.disputed}")) if claim.disputed else ())),
        _measured(alike),
        _predicted(alike),
        (claim.source, *((BREAK, Span(text=claim.quote, style=Style.QUOTE)) if claim.quote else ())),
    )


def _variants(names: Sequence[str]) -> Cell:
    shown = _names(names[:_NAMED])
    if len(names) <= _NAMED:
        return shown
    rest = _names(names[_NAMED:])
    return (*shown, Section(title=f"and {len(names) - _NAMED} more", level=0, fold=Fold.CLOSED, blocks=rest))


def _names(names: Sequence[str]) -> tuple[Inline, ...]:
    return lines([Span(text=name, style=Style.NAME) for name in names])


def _measured(alike: Sequence[AuditFinding]) -> str:
    values = [value for finding in alike for value in finding.measured]
    return _range(values, alike[0].claim.unit) if values else "–"


def _predicted(alike: Sequence[AuditFinding]) -> str:
    if (better := instead(alike[0])) and len(alike) == 1:
        return f"write instead: {better}"
    expected = [finding.bounds.expected for finding in alike if finding.bounds.expected is not None]
    return _range(expected, alike[0].claim.unit) if expected else alike[0].bounds.basis


def _range(values: Sequence[float], unit: str) -> str:
    low, high = (format_value(value, unit) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def load_section(record: RunRecord) -> Section | None:
    """One row a load, in the order in which they happened: what the charts above show the median of."""
    if not record.loads:
        return None
    rows = tuple(
        (
            load.variant,
            load.cache,
            Number(value=load.seconds, unit="s"),
            Number(value=load.checkpoint_bytes, unit="bytes"),
        )
        for load in record.loads
    )
    table = Table(label="Loads", columns=columns("Variant", "Page cache", "from_pretrained", "Checkpoint"), rows=rows)
    return Section(title=_all(len(rows), "load"), fold=Fold.CLOSED, blocks=(table,))


def environment_section(record: RunRecord) -> Section | None:
    """What was asked for, what was installed, and the variables that change what is loaded or measured.

    One block for each run, and one for the variables of each node; the node's card has the versions that matter.
    Secrets were masked before they were written.
    """
    blocks: list[Block] = []
    for run in record.runs:
        if run.run is None:
            continue
        head = run.run
        command = typed(head.program, *head.arguments)
        blocks.append(Facts(pairs=(("Run", head.run_id), ("Command", command), ("Plimsoll", head.plimsoll))))
        files = [
            (str(file.get("path")), str(file.get("sha256")), "" if file.get("shipped") else "not shipped")
            for file in head.catalogues
        ]
        blocks.append(
            _looked_up(f"{_all(len(files), 'file')} of the catalogue", "Catalogue", ("File", "SHA-256", ""), files)
        )
        if head.packages:
            packages = f"{_all(len(head.packages), 'package')} that were installed"
            blocks.append(_looked_up(packages, "Packages", ("Package", "Version"), head.packages.items()))
    for node in distinct_nodes(record):
        variables = tuple(sorted(node.environment.items()))
        table = Table(label="Environment variables", columns=columns("Variable", "Value"), rows=variables)
        shown: Block = table if variables else Paragraph(words="Nothing is set.")
        blocks.append(Section(title=f"Environment of {node.hostname}", level=2, blocks=(shown,)))
    return Section(title="Stack and environment", fold=Fold.CLOSED, blocks=tuple(blocks)) if blocks else None


def _all(count: int, noun: str) -> str:
    """`All 12 loads`, `The one load`."""
    return f"The one {noun}" if count == 1 else f"All {counted(count, noun)}"


def _looked_up(title: str, label: str, head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Section:
    table = Table(label=label, columns=columns(*head), rows=tuple(rows))
    return Section(title=title, level=0, fold=Fold.CLOSED, blocks=(table,))
