"""A comparison as one HTML page that needs nothing else: tables, pictures as SVG, light and dark, phone and paper.

Every text is escaped, and the page has no script: names of cells and variants come from files that anybody may have
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from plimsoll.compare.document import Document, Section
from plimsoll.compare.fail_on import Finding
from plimsoll.compare.forest_plot import MOST_ROWS, forest_plot
from plimsoll.compare.rule import Rule
from plimsoll.present.colours import COLOURS
from plimsoll.present.foreign_text import printable
from plimsoll.present.tables import Table

_CSS: Final = (
    COLOURS
    + """
body { max-width: 1200px; margin: 0 auto; padding: 12px 16px 40px; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 22px; } h2 { font-size: 17px; margin: 28px 0 8px; }
.statements { padding: 12px 16px; border: 1px solid var(--rule); border-left: 8px solid var(--gap);
  background: var(--panel); }
.statements.found { border-left-color: var(--bad); }
.statements p { margin: 4px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; overflow-wrap: normal; }
th, td { padding: 4px 8px; border: 1px solid var(--rule); text-align: left; vertical-align: top; }
thead th { background: var(--panel); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.slower, .more { color: var(--bad); font-weight: bold; } .faster, .less { color: var(--good); font-weight: bold; }
.too { color: var(--near); }
figure { margin: 0 0 12px; overflow-x: auto; }
figure svg { width: 100%; min-width: 600px; max-width: 900px; height: auto; }
ul { padding-left: 20px; }
@media print { table, figure { break-inside: auto; } tr { break-inside: avoid; } }
"""
)


def page_text(document: Document, found: Sequence[Finding], rule: Rule) -> str:
    """The whole page."""
    statements = "".join(f"<p>{_safe(statement)}</p>" for statement in document.statements)
    failures = "".join(f"<p><strong>fails on {_safe(f.condition)}</strong>: {_safe(f.text)}</p>" for f in found)
    sections = "".join(_section(section, rule) for section in document.sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Comparison</title>'
        f"<style>{_CSS}</style></head>\n<body><main><h1>Comparison</h1>"
        f'<div class="statements{" found" if found else ""}">{statements}{failures}</div>{sections}'
        "</main></body></html>\n"
    )


def _section(section: Section, rule: Rule) -> str:
    lines = "".join(f"<li>{_safe(line)}</li>" for line in section.lines)
    parts = [f"<h2>{_safe(section.title)}</h2>", f"<ul>{lines}</ul>" if lines else ""]
    if section.picture is not None:
        drawn = min(MOST_ROWS, len(section.picture.times))
        label = f"Ratios of {drawn} times with their intervals; the table below holds the same figures"
        parts.append(
            f'<figure role="img" aria-label="{label}" tabindex="0">{forest_plot(section.picture, rule)}</figure>'
        )
    if section.table is not None:
        parts.append(_table(section.table, section.title))
    return f"<section>{''.join(parts)}</section>\n"


def _table(table: Table, title: str) -> str:
    head = "".join(f'<th scope="col">{_safe(text)}</th>' for text in table.head)
    body = "".join(f"<tr>{''.join(_cells(table, row))}</tr>" for row in table.rows)
    # Reachable by keyboard, or a table wider than the window could not be scrolled without a mouse.
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{_safe(title)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(table: Table, row: Sequence[str]) -> list[str]:
    cells = [f'<th scope="row">{_safe(row[0])}</th>']
    for column, text in enumerate(row[1:], start=1):
        if column >= table.numbers:
            cells.append(f'<td class="number">{_safe(text)}</td>')
        elif table.head[column] == "word":
            cells.append(f'<td class="{_safe(text.split(" ")[0])}">{_safe(text)}</td>')
        else:
            cells.append(f"<td>{_safe(text)}</td>")
    return cells


def _safe(text: str) -> str:
    return escape(printable(text))
