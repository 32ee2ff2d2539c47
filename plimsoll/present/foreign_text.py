"""Makes text that a model, a hub or a library produced safe to print.

Such text may hold line breaks that forge a line of ours, and escape sequences that drive a terminal. Evidence keeps it
as it was; every line and page that people read goes through here first, and through the page's own escaping after.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_HIDDEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control, format (which includes the marks that reverse the direction of text), surrogate, line and paragraph
separators: the Unicode categories that change what stands around them."""
_MOST_KEPT: Final = 4096
_BEGINNING: Final = 4
"""As many times the characters that are shown as are looked at first: of a long text no more is needed."""


def printable(text: str) -> str:
    """The text with each control character but line break and tab written as an escape."""
    return text if text.isprintable() else text.translate(_ESCAPES)


def one_line(text: str, longest: int = 300) -> str:
    """The text on one line, white space collapsed, cut with an ellipsis at `longest` characters."""
    beginning = text[: _BEGINNING * longest]
    line = " ".join(printable(beginning).split())
    if len(line) <= longest and len(beginning) < len(text):
        line = " ".join(printable(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


class _Escapes(dict[int, str]):
    """What is shown of each character: itself, or its escape. The first that are met are kept: few texts have many, and
    a model may say all that there are."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_hidden = character not in "\n\t" and unicodedata.category(character) in _HIDDEN
        shown = character.encode("unicode_escape").decode("ascii") if is_hidden else character
        if len(self) < _MOST_KEPT:
            self[code] = shown
        return shown


_ESCAPES: Final = _Escapes()
