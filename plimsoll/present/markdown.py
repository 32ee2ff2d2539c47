"""Draws a document as Markdown. Text cannot break out of its span, cell or block."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from plimsoll.present.document import (
    Banner,
    Bullets,
    Cell,
    Document,
    Facts,
    LineBreak,
    Link,
    Paragraph,
    Picture,
    Piece,
    Section,
    Span,
    Style,
    Table,
    Verbatim,
    Words,
    as_words,
    is_inline,
    plain,
)
from plimsoll.present.foreign_text import one_line, printable

_LONGEST: Final = 2000
_FOLDED_FROM: Final = 12
"""Rows from which a table is folded, but for the rows that a reader must see."""


def document_text(document: Document) -> str:
    """The whole file."""
    return "\n\n".join([f"# {escaped(document.title)}", *_blocks(document.blocks)]) + "\n"


def escaped(text: str) -> str:
    """Foreign text on one line, with everything escaped that Markdown or HTML would act on."""
    # An underscore inside a word is no emphasis, and escaping it would make every metric's name unreadable as text.
    return re.sub(r"([\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line(text, longest=_LONGEST))


def _blocks(blocks: Iterable[Piece]) -> list[str]:
    return [text for block in blocks if (text := _block(block))]


def _block(block: Piece) -> str:
    match block:
        case Section():
            return _section(block)
        case Banner():
            title = [f"**{escaped(block.title)}**"] if block.title else []
            return "\n\n".join([*title, *_blocks(block.blocks)])
        case Paragraph():
            return "" if block.only_on_paper else _words(block.words)
        case Bullets():
            return "\n".join(f"- {_entry(as_words(entry))}" for entry in block.shown)
        case Facts():
            return "\n".join(f"- {escaped(label)}: {_words(words)}" for label, words in block.pairs)
        case Verbatim():
            return _fenced(block.text)
        case Table():
            return _table(block)
        case Picture():
            return _picture(block)
        case _:
            return ""


def _section(section: Section) -> str:
    content = "\n\n".join(_blocks(section.blocks))
    if section.level == 0:
        # Within an element Markdown is not read: there it is HTML that must not act.
        return f"<details><summary>{html.escape(one_line(plain(section.title)))}</summary>\n\n{content}\n\n</details>"
    note = f" ({escaped(section.note)})" if section.note else ""
    head = f"{'#' * (section.level + 1)} {_words(section.title)}{note}"
    return f"{head}\n\n{content}" if content else head


def _entry(entry: tuple[Piece, ...]) -> str:
    """The line, and what belongs to it below, set to the right as Markdown wants it."""
    first = "".join(_inline(piece) for piece in entry if is_inline(piece))
    below = _blocks(piece for piece in entry if not is_inline(piece))
    return first + "".join(f"\n\n{_indented(text)}" for text in below)


def _indented(text: str) -> str:
    return "\n".join(f"  {one}" if one else "" for one in text.split("\n"))


def _words(words: Words) -> str:
    return "".join(map(_inline, as_words(words)))


def _inline(piece: Piece) -> str:
    match piece:
        case LineBreak():
            return "<br>"
        case Link():
            return f"[{escaped(piece.text)}]({_address(piece.to)})" if piece.is_safe else escaped(piece.text)
        case Span():
            text = piece.text if piece.longest is None else one_line(piece.text, piece.longest)
            if piece.style is Style.CODE:
                return _code(text)
            return f"**{_kept(text)}**" if piece.style is Style.STRONG else _kept(text)
        case _:
            return _kept(str(piece))


def _kept(text: str) -> str:
    """Escaped, with the white space at both ends that keeps it apart from its neighbours."""
    if not text.strip():
        return " " if text else ""
    return " " * text[0].isspace() + escaped(text) + " " * text[-1].isspace()


def _address(to: str) -> str:
    return re.sub(r"[<>()\s\\]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), printable(to))


def _code(text: str) -> str:
    """An inline code span that a backtick inside cannot end; a pipe would end the cell of a table."""
    inside = one_line(text, longest=_LONGEST).replace("|", "\\|")
    ticks = "`" * (_longest_run(inside) + 1)
    pad = " " if inside.startswith("`") or inside.endswith("`") else ""
    return f"{ticks}{pad}{inside}{pad}{ticks}"


def _fenced(foreign: str) -> str:
    """A block of plain text that backticks inside cannot end."""
    text = printable(foreign)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _table(table: Table) -> str:
    """A long one folds away all but its notable rows."""
    if table.notable is None:
        return _rows(table, table.rows)
    shown = len(table.rows) if len(table.rows) < _FOLDED_FROM else table.notable
    parts = [_rows(table, table.rows[:shown])] if shown else []
    if rest := table.rows[shown:]:
        parts.append(f"<details><summary>{len(rest)} rows</summary>\n\n{_rows(table, rest)}\n\n</details>")
    return "\n\n".join(parts)


def _rows(table: Table, rows: Iterable[tuple[Cell, ...]]) -> str:
    head = [escaped(column.title) for column in table.columns]
    rule = ["--:" if column.is_figure else "---" for column in table.columns]
    return "\n".join(
        f"| {' | '.join(cells)} |" for cells in (head, rule, *([_cell(cell) for cell in row] for row in rows))
    )


def _cell(cell: Cell) -> str:
    """On one line: what would unfold stands behind."""
    return "".join(_inline(piece) if is_inline(piece) else _kept(plain((piece,))) for piece in as_words(cell))


def _picture(picture: Picture) -> str:
    parts = [f"### {escaped(picture.title)}", escaped(picture.text)]
    if picture.element is not None:
        parts.append(f"![{escaped(picture.title)}]({_address(picture.name)}.svg)")
    return "\n\n".join(parts)
