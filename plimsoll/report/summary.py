"""summary.md: the run for people, the verdict first.

It is Markdown that reads well as text too: a mail, a pull request and a terminal all show it.
"""

from __future__ import annotations

from collections.abc import Sequence

from plimsoll.evidence.record import LoadRecord, RunRecord
from plimsoll.present.foreign_text import one_line
from plimsoll.present.markdown import bullets, code, fenced, markdown, table
from plimsoll.report.node_card import distinct_nodes, node_card
from plimsoll.report.variant_table import variant_table
from plimsoll.units import format_bytes, format_seconds
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import Gap, Verdict


def summary_text(record: RunRecord, verdict: Verdict) -> str:
    """summary.md as text."""
    sections = [
        _head(record, verdict),
        bullets("Not to be accepted, because", [markdown(fault) for fault in verdict.faults]),
        bullets("Notes", [markdown(note) for note in verdict.notes]),
        _failures(verdict.results),
        _gaps(verdict.gaps),
        _waived(verdict.results),
        bullets("Conflicts: the worst counts", [code(str(conflict)) for conflict in verdict.conflicts]),
        _variants(verdict.results),
        _marginal(verdict.results),
        _loads(record.loads),
        _node(record),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def short_summary_text(record: RunRecord, verdict: Verdict) -> str:
    """The same where a glance must do: a failure is a row, a gap is a row with the command that closes it."""
    failed = [r for r in verdict.results if r.outcome is CellOutcome.FAIL]
    sections = [
        _head(record, verdict),
        bullets("Not to be accepted, because", [markdown(fault) for fault in verdict.faults]),
        bullets("Notes", [markdown(note) for note in verdict.notes]),
        _rows("Failures", ["cell", "what"], [[code(r.cell.id), code(one_line(r.reason))] for r in failed]),
        _rows(
            "Missing", ["what", "to run them"], [[markdown(str(g)), code(g.fix) if g.fix else ""] for g in verdict.gaps]
        ),
        _waived(verdict.results),
        bullets("Conflicts: the worst counts", [code(str(conflict)) for conflict in verdict.conflicts]),
        _variants(verdict.results),
        _node(record),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _rows(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{table(head, rows)}" if rows else ""


def _head(record: RunRecord, verdict: Verdict) -> str:
    counts = ", ".join(f"{count} {outcome.word}" for outcome, count in verdict.counts)
    started = "at an unknown time" if record.run is None else record.run.started
    ended = "did not finish" if record.finish is None else record.finish.at
    return "\n".join(
        [
            f"# {markdown(verdict.statement)}",
            "",
            f"- scope: {code(verdict.scope)}",
            f"- cells: {verdict.planned} planned, {counts}",
            f"- run: {code(record.run_id)}, started {started}, ended {ended}",
        ]
    )


def _failures(results: Sequence[CellResult]) -> str:
    failed = [result for result in results if result.outcome is CellOutcome.FAIL]
    if not failed:
        return ""
    entries = [f"### {code(result.cell.id)}\n\n{fenced(result.reason)}" for result in failed]
    return "\n\n".join(["## Failures", *entries])


def _gaps(gaps: Sequence[Gap]) -> str:
    if not gaps:
        return ""
    entries = []
    for gap in gaps:
        fix = f"\n\n{fenced(gap.fix)}" if gap.fix else ""
        cells = "\n".join(f"- {code(cell)}" for cell in gap.cells)
        entries.append(f"### {markdown(str(gap))}{fix}\n\n<details><summary>cells</summary>\n\n{cells}\n\n</details>")
    return "\n\n".join(["## Missing", *entries])


def _waived(results: Sequence[CellResult]) -> str:
    """Who answers for what, until when, and what the cell is without it."""
    return bullets(
        "Waived",
        [
            f"{code(result.cell.id)}: {markdown(str(result.waiver))}; without the waiver "
            f"{result.waived.value}: {code(result.reason)}"
            for result in results
            if result.waived is not None
        ],
    )


def _variants(results: Sequence[CellResult]) -> str:
    found = variant_table(results)
    if not found.rows:
        return ""
    rows = [[code(variant), *map(str, tallies)] for variant, tallies in found.rows]
    return "\n\n".join(
        ["## Variants", "Cells that passed, of those planned.", table(["variant", *found.subjects], rows)]
    )


def _marginal(results: Sequence[CellResult]) -> str:
    marginal = [f"{code(r.cell.id)}: {code(r.reason)}" for r in results if r.outcome is CellOutcome.MARGINAL]
    return bullets("Marginal", marginal)


def _loads(loads: Sequence[LoadRecord]) -> str:
    if not loads:
        return ""
    rows = []
    for load in loads:
        rate = f"{format_bytes(load.checkpoint_bytes / load.seconds)}/s" if load.seconds > 0 else "not measured"
        size = format_bytes(load.checkpoint_bytes)
        rows.append([code(load.variant), load.cache, format_seconds(load.seconds), size, rate])
    head = ["variant", "page cache", "from_pretrained", "checkpoint", "rate"]
    return "\n\n".join(["## Load times", table(head, rows)])


def _node(record: RunRecord) -> str:
    nodes = distinct_nodes(record)
    if not nodes:
        return "## Node\n\nThe run ended before the node was recorded."
    cards = [[f"{label}: {markdown(text)}" for label, text in node_card(node)] for node in nodes]
    return "\n\n".join(bullets("Node", card) for card in cards)
