"""Markdown around foreign text: what stands in a span, a cell or a block can neither end it nor act beyond it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from plimsoll.present.foreign_text import one_line, printable


def markdown(text: str) -> str:
    """Foreign text on one line, with everything escaped that Markdown or HTML would act on."""
    # An underscore inside a word is no emphasis, and escaping it would make every metric's name unreadable as text.
    return re.sub(r"([\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line(text, longest=2000))


def bullets(title: str, entries: Sequence[str]) -> str:
    """A section with a list, its entries Markdown already; empty where there are none."""
    return "\n".join([f"## {title}", "", *(f"- {entry}" for entry in entries)]) if entries else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(text: str) -> str:
    """An inline code span that a backtick inside cannot end; a pipe would end the cell of a table."""
    line = one_line(text, longest=2000).replace("|", "\\|")
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def fenced(foreign: str) -> str:
    """A block of plain text that backticks inside cannot end."""
    text = printable(foreign)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
