"""Finds the line of a TOML file on which a table of an array, or a key of it, is written.

tomllib gives no line numbers. A line is found where the file has a `[[name]]` header for each table, the usual way; for
an array that is written on one line nobody needs it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_HEADER: Final = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\- ]+?)\s*\]\]?\s*(?:#.*)?$")
_MULTILINE: Final = re.compile(r"\"\"\"|'''")


def line_of(text: str, path: Sequence[str | int], length: int) -> int | None:
    """The line, counted from 1, of what a path such as `("symptom", 1, "sign", 0, "message")` names: that of the key
    where it is found, else that of the innermost table. `length` is the number of tables in the outer array; None where
    the file has another number of headers."""
    headers = _headers(text)
    kind, index = str(path[0]), path[1]
    starts = [line for name, line in headers if name == kind]
    if len(starts) != length or not isinstance(index, int):
        return None
    start = starts[index]
    end = starts[index + 1] if index + 1 < length else len(text.splitlines()) + 1
    rest = list(path[2:])
    if len(rest) >= 2 and isinstance(rest[1], int):
        inner = [line for name, line in headers if name == f"{kind}.{rest[0]}" and start < line < end]
        if rest[1] < len(inner):
            start, after = inner[rest[1]], inner[rest[1] + 1 :]
            end, rest = (after[0] if after else end), rest[2:]
    return _key(text, str(rest[0]), start, end) if rest else start


def _key(text: str, name: str, start: int, end: int) -> int:
    """The line of a key between two lines; the first line where the key has none of its own."""
    written = re.compile(rf"\s*(\"?){re.escape(name)}\1\s*[=.]")
    lines = text.splitlines()
    return next((number for number in range(start + 1, end) if written.match(lines[number - 1])), start)


def _headers(text: str) -> list[tuple[str, int]]:
    """The name and the line of each header outside of multi-line strings."""
    found, is_inside = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if not is_inside and (header := _HEADER.match(line)):
            found.append((header[1].replace(" ", ""), number))
        is_inside ^= len(_MULTILINE.findall(line)) % 2 == 1
    return found
