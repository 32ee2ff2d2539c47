"""A comparison as Markdown for a pull request: the statements first, long tables folded away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plimsoll.compare.document import Document, Section, Table
from plimsoll.compare.fail_on import Finding
from plimsoll.report.markdown import markdown

_FOLDED_FROM: Final = 12
"""Rows from which a table is folded, but for the rows that a reader must see."""


def markdown_text(document: Document, found: Sequence[Finding]) -> str:
    """The whole file."""
    parts = ["# Comparison", "\n".join(f"- {markdown(statement)}" for statement in document.statements)]
    if found:
        parts.append("\n".join(f"- **fails on {f.condition}**: {markdown(f.text)}" for f in found))
    return "\n\n".join([*parts, *map(_section, document.sections)]) + "\n"


def _section(section: Section) -> str:
    parts = [f"## {markdown(section.title)}"]
    if section.lines:
        parts.append("\n".join(f"- {markdown(line)}" for line in section.lines))
    if section.table is not None:
        parts.append(_table(section.table))
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    shown = len(table.rows) if len(table.rows) < _FOLDED_FROM else table.notable
    parts = [_rows(table, table.rows[:shown])] if shown else []
    if rest := table.rows[shown:]:
        parts.append(f"<details><summary>{len(rest)} rows</summary>\n\n{_rows(table, rest)}\n\n</details>")
    return "\n\n".join(parts)


def _rows(table: Table, rows: Sequence[Sequence[str]]) -> str:
    rule = ["--:" if column >= table.numbers else "---" for column in range(len(table.head))]
    lines = [list(map(markdown, table.head)), rule, *(list(map(markdown, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
