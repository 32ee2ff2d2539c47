"""Writes values as TOML, for the files that commands make for users to edit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from plimsoll.usertoml.reading import BARE_KEY

_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
_WIDEST: Final = 110
"""Characters that a table or a list may take on one line."""


def key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if BARE_KEY.fullmatch(name) else text(name)


def text(words: str) -> str:
    """A text in quotes, on one line. Raises ValueError for one with half of a character in it: the name of a file that
    is not UTF-8, or an escape of JSON that stands alone."""
    if any(_is_half(character) for character in words):
        raise ValueError(f"TOML has no text that is not UTF-8: {words!r:.200}")
    shown = (
        _ESCAPED.get(character) or (character if character.isprintable() else f"\\U{ord(character):08X}")
        for character in words
    )
    return f'"{"".join(shown)}"'


def _is_half(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def value(data: Any) -> str:
    """Any JSON value except null, on one line. Raises ValueError for what TOML cannot say, such as null."""
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, int):
        return str(data)
    if isinstance(data, float):
        return _number(data)
    if isinstance(data, str):
        return text(data)
    if isinstance(data, list | tuple):
        return f"[{', '.join(map(value, data))}]"
    if isinstance(data, Mapping):
        pairs = ", ".join(f"{key(str(name))} = {value(part)}" for name, part in data.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    raise ValueError(f"TOML has no {type(data).__name__}: {data!r:.60}")


def lines(data: Mapping[str, Any], table: str) -> Iterator[str]:
    """The lines of a table, one for each key; inner tables that are too wide for a line follow under headings of their
    own. Raises ValueError as `value` does."""
    below = {}
    yield f"[{table}]"
    for name, part in data.items():
        line = f"{key(name)} = {value(part)}"
        if isinstance(part, Mapping) and len(line) > _WIDEST:
            below[name] = part
        else:
            yield from _broken(name, part) if isinstance(part, list) and len(line) > _WIDEST else [line]
    for name, part in below.items():
        yield ""
        yield from lines(part, f"{table}.{key(name)}")


def _broken(name: str, items: list[Any]) -> Iterator[str]:
    """A long list over several lines."""
    yield f"{key(name)} = ["
    row = ""
    for shown in map(value, items):
        if row and len(row) + len(shown) > _WIDEST:
            yield f"    {row}"
            row = ""
        row += f"{' ' if row else ''}{shown},"
    if row:
        yield f"    {row}"
    yield "]"


def _number(number: float) -> str:
    """TOML wants a digit on both sides of a point, and one before an exponent."""
    if not math.isfinite(number):
        return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    return repr(number)
