"""Draws a document for a terminal: plain lines, tables in aligned columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from plimsoll.present.document import (
    Banner,
    Bullets,
    Facts,
    LineBreak,
    Paragraph,
    Piece,
    Section,
    Span,
    Table,
    Verbatim,
    Words,
    as_words,
    is_inline,
    plain,
)
from plimsoll.present.foreign_text import one_line, printable

LONGEST = 2000
"""Characters of a line that may hold a command, which is of no use when it is cut."""
WIDEST = 60
"""Characters of a column; pages and files hold the whole text."""


def line(words: Words, longest: int = LONGEST) -> str:
    """What stands on one line, cut with an ellipsis where it is longer."""
    return one_line("".join(map(_inline, as_words(words))), longest)


def wrapped(text: str, width: int | None) -> list[str]:
    """A sentence as lines of at most `width` columns, broken between words alone, so that names stay whole; as one line
    without a width, for a file. What belongs to an entry stays below it, further to the right. Not for commands:
    whoever copies one needs it on one line."""
    if width is None or len(text) <= width:
        return [text]
    below = " " * (len(text) - len(text.lstrip()) + 4)
    return textwrap.wrap(text, width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)


def section_lines(section: Section) -> list[str]:
    """The title, and below it the content, set to the right by two columns."""
    return [line(section.title), *block_lines(section.blocks, indent=2)]


def block_lines(blocks: Iterable[Piece], indent: int = 0) -> list[str]:
    """The lines of some blocks; pictures are left out, for a table holds the same figures."""
    found: list[str] = []
    for block in blocks:
        found += _block(block, indent)
    return found


def aligned(table: Table, indent: int = 2, widest: int = WIDEST) -> list[str]:
    """Lines of equal columns, figures to the right."""
    head = [[column.title for column in table.columns]] if table.has_head else []
    rows = [*head, *([plain(cell) for cell in row] for row in table.rows)]
    if not rows:
        return []
    cells = [[one_line(text, widest) for text in row] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(table.columns))]
    return [
        " " * indent
        + "  ".join(
            text.rjust(width) if column.is_figure else text.ljust(width)
            for column, text, width in zip(table.columns, row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _block(block: Piece, indent: int) -> list[str]:
    pad = " " * indent
    match block:
        case Section():
            return [pad + line(block.title), *block_lines(block.blocks, indent + 2)]
        case Banner():
            title = [pad + line(block.title)] if block.title else []
            return [*title, *block_lines(block.blocks, indent)]
        case Paragraph():
            return [] if block.only_on_paper else [pad + text for text in _broken(as_words(block.words))]
        case Bullets():
            return [pad + text for entry in block.shown for text in _entry(as_words(entry), block.hang)]
        case Facts():
            return [f"{pad}{line(label)}: {line(words)}" for label, words in block.pairs]
        case Verbatim():
            return [pad + text for text in printable(block.text).splitlines()]
        case Table():
            return aligned(block, indent)
        case _:
            return []


def _entry(entry: tuple[Piece, ...], hang: int) -> list[str]:
    """The first line as it is, what belongs to it further to the right."""
    words = [piece for piece in entry if is_inline(piece)]
    first, *rest = _broken(words) or [""]
    below = block_lines([piece for piece in entry if not is_inline(piece)], hang)
    return [first, *(" " * hang + text for text in rest), *below]


def _broken(words: Iterable[Piece]) -> list[str]:
    texts = [""]
    for piece in words:
        if isinstance(piece, LineBreak):
            texts.append("")
        else:
            texts[-1] += _inline(piece)
    return [one_line(text, LONGEST) for text in texts]


def _inline(piece: Piece) -> str:
    match piece:
        case LineBreak():
            return " "
        case Span():
            return piece.text if piece.longest is None else one_line(piece.text, piece.longest)
        case _:
            return str(getattr(piece, "text", piece))
