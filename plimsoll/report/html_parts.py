"""The parts of report.html that pytest-html does not have: above its rows the verdict, its scope, the node, what is
wrong or missing, the sections; and in each row what was measured against which limit.

No part holds a script or names anything outside of the page, and every text of others is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from plimsoll.evidence.fields import read_judgement
from plimsoll.evidence.record import RunRecord
from plimsoll.present.html_elements import badge, bullets, row_head, safe, sign, some, unfolding, wide_table
from plimsoll.report.failures_part import cut, ended_hosts, failures, margin, value_of
from plimsoll.report.node_card import distinct_nodes, node_card
from plimsoll.report.page_style import CSS
from plimsoll.report.section import SectionMaker
from plimsoll.report.sections import SECTIONS, sections_html
from plimsoll.report.variant_table import Tally, variant_table
from plimsoll.verdict.cells import CellResult
from plimsoll.verdict.verdict import Gap, Verdict, counted

__all__ = ["CSS", "header", "measured_cells"]

_MOST_CELLS: Final = 40
"""Cells that one gap names; all of them have a row of their own."""
_MANY_VARIANTS: Final = 30
_VARIANTS: Final = "Variants: cells that passed, of those planned"


def header(record: RunRecord, verdict: Verdict, sections: tuple[SectionMaker, ...] = SECTIONS) -> str:
    """What stands at the top of the page: verdict, scope, node, what is wrong or missing, variants, sections."""
    parts = [
        _banner(record, verdict),
        _node(record),
        bullets("Not to be accepted, because", [safe(fault) for fault in verdict.faults]),
        bullets("Notes", [safe(note) for note in verdict.notes]),
        failures(verdict.results),
        ended_hosts(record),
        _gaps(verdict.gaps),
        _waived(verdict.results),
        bullets(
            "Conflicts: the worst counts", [f"<code>{safe(str(conflict))}</code>" for conflict in verdict.conflicts]
        ),
        _variants(verdict.results),
        sections_html(record, sections),
        '<p class="plimsoll-paper">On paper, the rows of tests that passed are left out.</p>',
    ]
    return f'<div class="plimsoll">{"".join(parts)}</div>'


def measured_cells(judgements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Three cells of a row (measured, limit, margin) with a line for each judgement; empty where there is none.

    Takes the fields of JUDGEMENT events, as a test report carries them. A page may have thousands of these cells, so
    they are written in as few characters as HTML takes.
    """
    columns: list[list[str]] = [[], [], []]
    for fields in judgements:
        for column, text in zip(columns, _row_texts(fields), strict=True):
            column.append(text)
    return [f"<td>{'<br>'.join(column)}</td>" for column in columns]


def _row_texts(fields: Mapping[str, Any]) -> tuple[str, str, str]:
    try:
        judgement = read_judgement(fields)
    except (KeyError, TypeError, ValueError):
        return safe(str(fields.get("text") or "unreadable")), "?", "?"
    limit = judgement.limit
    named = f"{sign(judgement.outcome.value)} {judgement.measurement.metric} <strong>{value_of(judgement)}</strong>"
    return named, f"{safe(str(limit))} <i>{safe(limit.source)}</i>", margin(judgement)


def _banner(record: RunRecord, verdict: Verdict) -> str:
    started = "at an unknown time" if record.run is None else record.run.started
    ended = "did not finish" if record.finish is None else f"ended {record.finish.at}"
    counts = "".join(f"<li>{badge(outcome.value)} {count} {outcome.word}</li>" for outcome, count in verdict.counts)
    return (
        f'<section class="plimsoll-verdict plimsoll-{verdict.word.lower()}">'
        f"<h2>{safe(verdict.statement)}</h2>"
        f"<p>Scope: <code>{safe(verdict.scope)}</code>, {verdict.planned} cells planned. "
        f"Run {safe(record.run_id)}, started {safe(started)}, {safe(ended)}.</p>"
        f'<ul class="plimsoll-counts">{counts}</ul></section>'
    )


def _gaps(gaps: Iterable[Gap]) -> str:
    """By code, since one command often closes all gaps of a kind."""
    by_code: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_code.setdefault(gap.code or gap.outcome.word, []).append(gap)
    return bullets("Missing, and how to get it", [_gap(gap) for alike in by_code.values() for gap in alike])


def _gap(gap: Gap) -> str:
    fix = f"<pre>{safe(gap.fix)}</pre>" if gap.fix else ""
    cells = some([f"<code>{safe(cell)}</code>" for cell in gap.cells], _MOST_CELLS, "in the rows below")
    listed = "".join(f"<li>{cell}</li>" for cell in cells)
    return f"{safe(str(gap))}{fix}{unfolding('Cells', f'<ul>{listed}</ul>')}"


def _waived(results: Iterable[CellResult]) -> str:
    entries = [
        f"<code>{safe(result.cell.id)}</code>: {safe(str(result.waiver))}"
        f"<pre>without the waiver {result.waived.value}: {safe(cut(result.reason))}</pre>"
        for result in results
        if result.waived is not None
    ]
    return bullets("Waived", entries)


def _variants(results: Sequence[CellResult]) -> str:
    """Of many variants those first of which anything did not pass; the others fold away."""
    table = variant_table(results)
    if not table.rows:
        return ""
    fine = [row for row in table.rows if all(tally.is_fine for tally in row[1])]
    if len(table.rows) <= _MANY_VARIANTS or not fine:
        return unfolding(f"<h3>{_VARIANTS}</h3>", _variant_rows(table.subjects, table.rows), is_open=True)
    rest = [row for row in table.rows if row not in fine]
    told = f"{counted(len(fine), 'variant')} of which every cell passed"
    folded = unfolding(told, _variant_rows(table.subjects, fine))
    shown = _variant_rows(table.subjects, rest) if rest else ""
    return unfolding(f"<h3>{_VARIANTS}</h3>", shown + folded, is_open=True)


def _variant_rows(subjects: Sequence[str], rows: Iterable[tuple[str, Sequence[Tally]]]) -> str:
    cells = [
        [
            row_head(variant),
            *(f"<td>{badge(tally.worst.value) if tally.worst else ''} {safe(str(tally))}</td>" for tally in tallies),
        ]
        for variant, tallies in rows
    ]
    return wide_table(_VARIANTS, ("Variant", *subjects), cells)


def _node(record: RunRecord) -> str:
    nodes = distinct_nodes(record)
    if not nodes:
        return "<section><h3>Node</h3><p>The run ended before the node was recorded.</p></section>"
    sections = []
    for node in nodes:
        lines = "".join(f"<dt>{safe(label)}</dt><dd>{safe(text)}</dd>" for label, text in node_card(node))
        sections.append(f"<section><h3>Node</h3><dl>{lines}</dl></section>")
    return "".join(sections)
