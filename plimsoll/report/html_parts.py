"""The parts of report.html that pytest-html does not have: the verdict, its scope and the node above its rows, and in
each row what was measured against which limit.

Every text is escaped: models, hubs and parameters wrote some of it, and pytest-html takes parts as they are. No part
holds a script or names anything outside of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from plimsoll.evidence.fields import read_judgement
from plimsoll.evidence.record import LoadRecord, RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.report.foreign_text import printable
from plimsoll.report.node_card import distinct_nodes, node_card
from plimsoll.report.page_style import CSS
from plimsoll.report.variant_table import variant_table
from plimsoll.units import format_bytes, format_seconds, format_value
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import Gap, Verdict

__all__ = ["CSS", "header", "measured_cells"]

_MOST_SHOWN: Final = 50
"""Failures above the rows; all of them have a row of their own."""
_LONGEST_REASON: Final = 2000
"""Characters of a reason above the rows; the last words of a host can be long."""


def header(record: RunRecord, verdict: Verdict) -> str:
    """What stands at the top of the page: verdict, scope, the node, what is wrong or missing, the variants."""
    parts = [
        _banner(record, verdict),
        _node(record),
        _list("Not to be accepted, because", [_safe(fault) for fault in verdict.faults]),
        _list("Notes", [_safe(note) for note in verdict.notes]),
        _failures(verdict.results),
        _gaps(verdict.gaps),
        _waived(verdict.results),
        _list(
            "Conflicts: the worst counts", [f"<code>{_safe(str(conflict))}</code>" for conflict in verdict.conflicts]
        ),
        _variants(verdict.results),
        _loads(record.loads),
    ]
    return f'<div class="plimsoll">{"".join(parts)}</div>'


def measured_cells(judgements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Three cells of a row (measured, limit, margin) with a line for each judgement; dashes where there is none.

    Takes the fields of JUDGEMENT events, as a test report carries them.
    """
    columns: list[list[str]] = [[], [], []]
    for fields in judgements:
        for column, text in zip(columns, _row_texts(fields), strict=True):
            column.append(text)
    names = ("measured", "limit", "margin")
    return [
        f'<td class="col-{name} plimsoll-figures">{"<br>".join(column) or "&ndash;"}</td>'
        for name, column in zip(names, columns, strict=True)
    ]


def _row_texts(fields: Mapping[str, Any]) -> tuple[str, str, str]:
    try:
        judgement = read_judgement(fields)
    except (KeyError, TypeError, ValueError):
        return _safe(str(fields.get("text") or "unreadable")), "?", "?"
    measurement, limit = judgement.measurement, judgement.limit
    if measurement.value is None:
        value = f"not measured ({_safe(measurement.reason)})"
    else:
        value = _safe(format_value(measurement.value, measurement.unit))
    named = f"{_badge(judgement.outcome.value)} {_safe(measurement.metric)} <strong>{value}</strong>"
    return named, f'{_safe(str(limit))} <span class="plimsoll-source">{_safe(limit.source)}</span>', _margin(judgement)


def _margin(judgement: Judgement) -> str:
    if judgement.headroom is None:
        return "&ndash;"
    return f"{abs(judgement.headroom):.1%} {'inside' if judgement.headroom >= 0 else 'outside'}"


def _banner(record: RunRecord, verdict: Verdict) -> str:
    started = "at an unknown time" if record.run is None else record.run.started
    ended = "did not finish" if record.finish is None else f"ended {record.finish.at}"
    counts = "".join(f"<li>{_badge(outcome.value)} {count} {outcome.word}</li>" for outcome, count in verdict.counts)
    return (
        f'<section class="plimsoll-verdict plimsoll-{verdict.word.lower()}">'
        f"<h2>{_safe(verdict.statement)}</h2>"
        f"<p>Scope: <code>{_safe(verdict.scope)}</code>, {verdict.planned} cells planned. "
        f"Run {_safe(record.run_id)}, started {_safe(started)}, {_safe(ended)}.</p>"
        f'<ul class="plimsoll-counts">{counts}</ul></section>'
    )


def _failures(results: Iterable[CellResult]) -> str:
    failed = [result for result in results if result.outcome is CellOutcome.FAIL]
    entries = [f"<code>{_safe(result.cell.id)}</code>{_reason(result.reason)}" for result in failed[:_MOST_SHOWN]]
    more = len(failed) - _MOST_SHOWN
    return _list("Failures", [*entries, *([f"and {more} more, in the rows below"] if more > 0 else [])])


def _reason(text: str) -> str:
    """The first line at a glance; a stack or a host's last words unfold."""
    first, _, rest = _cut(text).partition("\n")
    whole = f"<details><summary>All of it</summary><pre>{_safe(rest)}</pre></details>" if rest.strip() else ""
    return f"<pre>{_safe(first)}</pre>{whole}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…\n(the row below has the rest)"


def _gaps(gaps: Iterable[Gap]) -> str:
    entries = []
    for gap in gaps:
        fix = f"<pre>{_safe(gap.fix)}</pre>" if gap.fix else ""
        cells = "".join(f"<li><code>{_safe(cell)}</code></li>" for cell in gap.cells)
        entries.append(f"{_safe(str(gap))}{fix}<details><summary>Cells</summary><ul>{cells}</ul></details>")
    return _list("Missing, and how to get it", entries)


def _waived(results: Iterable[CellResult]) -> str:
    entries = [
        f"<code>{_safe(result.cell.id)}</code>: {_safe(str(result.waiver))}"
        f"<pre>without the waiver {result.waived.value}: {_safe(_cut(result.reason))}</pre>"
        for result in results
        if result.waived is not None
    ]
    return _list("Waived", entries)


def _variants(results: Sequence[CellResult]) -> str:
    table = variant_table(results)
    if not table.rows:
        return ""
    rows = [
        [
            f'<th scope="row">{_safe(variant)}</th>',
            *(f"<td>{_badge(tally.worst.value) if tally.worst else ''} {_safe(str(tally))}</td>" for tally in tallies),
        ]
        for variant, tallies in table.rows
    ]
    return _table("Variants: cells that passed, of those planned", ("Variant", *table.subjects), rows)


def _loads(loads: Iterable[LoadRecord]) -> str:
    rows = [
        [
            f'<th scope="row">{_safe(load.variant)}</th>',
            f"<td>{_safe(load.cache)}</td>",
            f"<td>{_safe(format_seconds(load.seconds))}</td>",
            f"<td>{_safe(format_bytes(load.checkpoint_bytes))}</td>",
        ]
        for load in loads
    ]
    return _table("Load times", ("Variant", "Page cache", "from_pretrained", "Checkpoint"), rows) if rows else ""


def _node(record: RunRecord) -> str:
    nodes = distinct_nodes(record)
    if not nodes:
        return "<section><h3>Node</h3><p>The run ended before the node was recorded.</p></section>"
    sections = []
    for node in nodes:
        lines = "".join(f"<dt>{_safe(label)}</dt><dd>{_safe(text)}</dd>" for label, text in node_card(node))
        sections.append(f"<section><h3>Node</h3><dl>{lines}</dl></section>")
    return "".join(sections)


def _list(title: str, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    return f"<section><h3>{title}</h3><ul>{''.join(f'<li>{entry}</li>' for entry in entries)}</ul></section>"


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = "".join(f'<th scope="col">{_safe(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<details open><summary><h3>{title}</h3></summary><div class="plimsoll-wide"><table>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _badge(outcome: str) -> str:
    """A sign with a letter, so that the colour is not all there is to tell outcomes apart."""
    signs = {
        "pass": "&#10003;",
        "marginal": "~",
        "fail": "&#10007;",
        "unset": "&#10007;",
        "skip": "&#8226;",
        "waived": "w",
    }
    return f'<span class="plimsoll-badge plimsoll-{outcome}" title="{outcome}">{signs.get(outcome, "?")}</span>'


def _safe(text: str) -> str:
    return escape(printable(text))
