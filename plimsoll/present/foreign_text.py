"""Makes text that a model, a hub or a library produced safe to print.

Such text may hold line breaks that forge a line of ours, and escape sequences that drive a terminal. Evidence keeps it
as it was; every line and page that people read goes through here first, and through the page's own escaping after.
"""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control, format (which includes the marks that reverse the direction of text), surrogate, line and paragraph
separators: the Unicode categories that change what stands around them."""


def printable(text: str) -> str:
    """The text with each control character but line break and tab written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _HIDDEN else _escape(c) for c in text)


def one_line(text: str, longest: int = 300) -> str:
    """The text on one line, white space collapsed, cut with an ellipsis at `longest` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
