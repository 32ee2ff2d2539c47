"""The few elements that the parts of report.html are made of; every text that goes in is escaped here.

Models, hubs and parameters wrote some of that text, and pytest-html takes parts as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from plimsoll.present.foreign_text import printable

_SIGNS: Final = {
    "pass": "✓",
    "marginal": "~",
    "fail": "✗",
    "unset": "✗",
    "skip": "•",
    "not_run": "–",
    "waived": "w",
}


def safe(text: str) -> str:
    """The text as it may stand in the page, also in an attribute in double quotes."""
    return escape(printable(text))


def badge(outcome: str) -> str:
    """A sign with a form of its own, so that the colour is not all there is to tell outcomes apart."""
    known = outcome if outcome in _SIGNS else "unknown"
    return f'<span class="plimsoll-badge plimsoll-{known}" title="{known}">{_SIGNS.get(known, "?")}</span>'


def sign(outcome: str) -> str:
    """The badge of a row of pytest-html, of which there are thousands."""
    return f"<b class={outcome}>{_SIGNS[outcome]}</b>"


def bullets(title: str, entries: Sequence[str]) -> str:
    """A titled list of entries that are HTML; nothing where there is none."""
    if not entries:
        return ""
    return f"<section><h3>{title}</h3><ul>{''.join(f'<li>{entry}</li>' for entry in entries)}</ul></section>"


def unfolding(summary: str, content: str, *, is_open: bool = False) -> str:
    """Something to unfold; both parts are HTML."""
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>{content}</details>"


def wide_table(label: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose cells are whole elements; it scrolls by itself, by keyboard too, where the window is narrower."""
    columns = "".join(f'<th scope="col">{safe(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="plimsoll-wide" role="region" tabindex="0" aria-label="{safe(label)}"><table>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def row_head(text: str) -> str:
    """The first cell of a row."""
    return f'<th scope="row">{safe(text)}</th>'


def cell(text: str) -> str:
    """A cell with plain text."""
    return f"<td>{safe(text)}</td>"


def some(entries: Sequence[str], most: int, rest: str) -> list[str]:
    """The first entries, and how many more there are: `and 12 more, in the rows below`."""
    more = len(entries) - most
    return [*entries[:most], *([f"and {more} more, {rest}"] if more > 0 else [])]
