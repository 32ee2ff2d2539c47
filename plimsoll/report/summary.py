"""summary.md: the run for people, the verdict first.

It is Markdown that reads well as text too: a mail, a pull request and a terminal all show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from plimsoll.evidence.record import LoadRecord, RunRecord
from plimsoll.report.foreign_text import one_line, printable
from plimsoll.report.node_card import distinct_nodes, node_card
from plimsoll.report.variant_table import variant_table
from plimsoll.units import format_bytes, format_seconds
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import Gap, Verdict


def summary_text(record: RunRecord, verdict: Verdict) -> str:
    """summary.md as text."""
    sections = [
        _head(record, verdict),
        _bullets("Not to be accepted, because", [markdown(fault) for fault in verdict.faults]),
        _bullets("Notes", [markdown(note) for note in verdict.notes]),
        _failures(verdict.results),
        _gaps(verdict.gaps),
        _waived(verdict.results),
        _bullets("Conflicts: the worst counts", [_code(str(conflict)) for conflict in verdict.conflicts]),
        _variants(verdict.results),
        _marginal(verdict.results),
        _loads(record.loads),
        _node(record),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def markdown(text: str) -> str:
    """Foreign text on one line, with everything escaped that Markdown or HTML would act on."""
    # An underscore inside a word is no emphasis, and escaping it would make every metric's name unreadable as text.
    return re.sub(r"([\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line(text, longest=2000))


def _head(record: RunRecord, verdict: Verdict) -> str:
    counts = ", ".join(f"{count} {outcome.word}" for outcome, count in verdict.counts)
    started = "at an unknown time" if record.run is None else record.run.started
    ended = "did not finish" if record.finish is None else record.finish.at
    return "\n".join(
        [
            f"# {markdown(verdict.statement)}",
            "",
            f"- scope: {_code(verdict.scope)}",
            f"- cells: {verdict.planned} planned, {counts}",
            f"- run: {_code(record.run_id)}, started {started}, ended {ended}",
        ]
    )


def _failures(results: Sequence[CellResult]) -> str:
    failed = [result for result in results if result.outcome is CellOutcome.FAIL]
    if not failed:
        return ""
    entries = [f"### {_code(result.cell.id)}\n\n{_fenced(result.reason)}" for result in failed]
    return "\n\n".join(["## Failures", *entries])


def _gaps(gaps: Sequence[Gap]) -> str:
    if not gaps:
        return ""
    entries = []
    for gap in gaps:
        fix = f"\n\n{_fenced(gap.fix)}" if gap.fix else ""
        cells = "\n".join(f"- {_code(cell)}" for cell in gap.cells)
        entries.append(f"### {markdown(str(gap))}{fix}\n\n<details><summary>cells</summary>\n\n{cells}\n\n</details>")
    return "\n\n".join(["## Missing", *entries])


def _waived(results: Sequence[CellResult]) -> str:
    """Who answers for what, until when, and what the cell is without it."""
    return _bullets(
        "Waived",
        [
            f"{_code(result.cell.id)}: {markdown(str(result.waiver))}; without the waiver "
            f"{result.waived.value}: {_code(result.reason)}"
            for result in results
            if result.waived is not None
        ],
    )


def _variants(results: Sequence[CellResult]) -> str:
    table = variant_table(results)
    if not table.rows:
        return ""
    rows = [[_code(variant), *map(str, tallies)] for variant, tallies in table.rows]
    return "\n\n".join(
        ["## Variants", "Cells that passed, of those planned.", _table(["variant", *table.subjects], rows)]
    )


def _marginal(results: Sequence[CellResult]) -> str:
    marginal = [f"{_code(r.cell.id)}: {_code(r.reason)}" for r in results if r.outcome is CellOutcome.MARGINAL]
    return _bullets("Marginal", marginal)


def _loads(loads: Sequence[LoadRecord]) -> str:
    if not loads:
        return ""
    rows = []
    for load in loads:
        rate = f"{format_bytes(load.checkpoint_bytes / load.seconds)}/s" if load.seconds > 0 else "not measured"
        size = format_bytes(load.checkpoint_bytes)
        rows.append([_code(load.variant), load.cache, format_seconds(load.seconds), size, rate])
    head = ["variant", "page cache", "from_pretrained", "checkpoint", "rate"]
    return "\n\n".join(["## Load times", _table(head, rows)])


def _node(record: RunRecord) -> str:
    nodes = distinct_nodes(record)
    if not nodes:
        return "## Node\n\nThe run ended before the node was recorded."
    cards = [[f"{label}: {markdown(text)}" for label, text in node_card(node)] for node in nodes]
    return "\n\n".join(_bullets("Node", card) for card in cards)


def _bullets(title: str, entries: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {entry}" for entry in entries)]) if entries else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _code(text: str) -> str:
    """An inline code span that a backtick inside cannot end; a pipe would end the cell of a table."""
    line = one_line(text, longest=2000).replace("|", "\\|")
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _fenced(foreign: str) -> str:
    text = printable(foreign)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
