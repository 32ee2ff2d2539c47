"""A table that is said once and written for a terminal or as Markdown; pages have their own.

Texts are as they came from files; what writes them escapes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.present.foreign_text import one_line
from plimsoll.present.markdown import markdown

_WIDEST: Final = 60
"""Characters of a column on a terminal; pages and files hold the whole text."""
_FOLDED_FROM: Final = 12
"""Rows from which a table in Markdown is folded, but for the rows that a reader must see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a head; the columns from `numbers` on hold figures, the first `notable` rows are what a reader must
    see."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int
    notable: int = 0


def aligned(table: Table) -> list[str]:
    """Lines for a terminal, figures to the right."""
    cells = [[one_line(text, _WIDEST) for text in row] for row in (table.head, *table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.head))]
    return [
        "  "
        + "  ".join(
            text.rjust(width) if column >= table.numbers else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def markdown_table(table: Table) -> str:
    """A table in Markdown; a long one folds away all but its notable rows."""
    shown = len(table.rows) if len(table.rows) < _FOLDED_FROM else table.notable
    parts = [_rows(table, table.rows[:shown])] if shown else []
    if rest := table.rows[shown:]:
        parts.append(f"<details><summary>{len(rest)} rows</summary>\n\n{_rows(table, rest)}\n\n</details>")
    return "\n\n".join(parts)


def _rows(table: Table, rows: Sequence[Sequence[str]]) -> str:
    rule = ["--:" if column >= table.numbers else "---" for column in range(len(table.head))]
    lines = [list(map(markdown, table.head)), rule, *(list(map(markdown, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
