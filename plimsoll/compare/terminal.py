"""A comparison as plain text in aligned columns, the statements last, where a reader of a terminal looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plimsoll.compare.document import Document, Table
from plimsoll.compare.fail_on import Finding
from plimsoll.report.foreign_text import one_line

_WIDEST: Final = 60
"""Characters of a column; the page and the JSON file hold the whole text."""
_LONGEST: Final = 2000


def terminal_lines(document: Document, found: Sequence[Finding], undecided: str, *, quiet: bool = False) -> list[str]:
    """The lines; `undecided` says why the status is not 0 although nothing was found, and is empty otherwise.

    With `quiet` the sections are left out.
    """
    lines = []
    for section in () if quiet else document.sections:
        lines.append(section.title)
        lines += [f"  {one_line(line, _LONGEST)}" for line in section.lines]
        lines += [] if section.table is None else _aligned(section.table)
        lines.append("")
    lines += [one_line(statement, _LONGEST) for statement in document.statements]
    lines += [f"fails on {finding.condition}: {one_line(finding.text, _LONGEST)}" for finding in found]
    return lines + ([undecided] if undecided else [])


def _aligned(table: Table) -> list[str]:
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
