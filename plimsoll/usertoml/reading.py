"""Reads TOML files that a user wrote, and words their faults: each with its file, its line or key path, and what to do.

tomllib gives no line numbers. A line is found where the file has a `[[name]]` header for each table, the usual way; for
an array that is written on one line nobody needs it.
"""

from __future__ import annotations

import errno
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final

from plimsoll.errors import Fault, reason_of
from plimsoll.usertoml.suggest import did_you_mean

_LARGEST: Final = 64 * 2**20
"""The largest file that is read, in bytes."""
_PLACE: Final = re.compile(r"\s*\(at (?P<place>[^()]+)\)$")
_HEADER: Final = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\- ]+?)\s*\]\]?\s*(?:#.*)?$")
_MULTILINE: Final = re.compile(r"\"\"\"|'''")
BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A key that TOML takes without quotes."""
_LONGEST: Final = 60
"""Characters of a key or a value that a message shows."""


LOOK_LIKE_NOTHING: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Invisible characters that Unicode classes as letters or symbols."""


def shows_something(text: str) -> bool:
    """True for a text with a character that a reader sees: no space, nor one that only joins, turns or hides others."""
    return any(unicodedata.category(c)[0] not in "ZC" and c not in LOOK_LIKE_NOTHING for c in text)


def read_bytes(path: Path, label: str) -> bytes | Fault:
    """The bytes of a file, which messages call `label`."""
    try:
        return read_file(path)
    except FileNotFoundError:
        return Fault(where=label, what="there is no such file")
    except IsADirectoryError:
        return Fault(where=label, what="is a folder", fix="name the TOML files in it, one by one")
    except OSError as error:
        return Fault(where=label, what=f"cannot be read: {reason_of(error)}")


def text_of(content: bytes, label: str) -> str | Fault:
    """Decode the bytes of a file."""
    try:
        return content.decode("utf-8-sig")  # editors on Windows put a mark in front, which TOML allows
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Fault(where=f"{label}: line {line}", what="is not UTF-8 text", fix="save the file as UTF-8")


def data_of(text: str, label: str) -> dict[str, Any] | Fault:
    """Parse a text as TOML; a key that occurs twice is a syntax fault."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        return Fault(where=label, what="is nested too deeply to be read")
    except ValueError as error:  # TOMLDecodeError, or Python's error for numbers with thousands of digits
        place = _PLACE.search(str(error))
        where = f"{label}: {place['place']}" if place else label
        return Fault(where=where, what=f"is not valid TOML: {_PLACE.sub('', str(error))}")


def read_file(path: Path) -> bytes:
    """The bytes of a regular file. Raises OSError for anything else too: a pipe would block, a device never ends, and
    nobody writes a file above the limit by hand."""
    found = path.stat()
    if stat.S_ISREG(found.st_mode) and found.st_size > _LARGEST:
        raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, and at most {_LARGEST} are read", str(path))
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "it is no file, but a pipe or a device", str(path))
    return path.read_bytes()


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


def key_path(*parts: str | int) -> str:
    """`variant[2].models[0]`; keys that TOML would have to quote are quoted."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if BARE_KEY.fullmatch(part) else f".{part[:_LONGEST]!r}"
    return path.removeprefix(".")


def shown(value: object) -> str:
    """A value of a TOML file, on one short line and without control characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, datetime | date | time):
        return f"the date or time {value}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def unknown_keys(where: str, table: Mapping[str, Any], known: Iterable[str]) -> Iterator[Fault]:
    """A fault for each unknown key of a table at `where`, with the nearest known one."""
    names = tuple(known)
    for key in table:
        if key not in names:
            yield Fault(
                where=f"{where}.{key_path(key)}", what=f"unknown key {shown(key)}", fix=did_you_mean(key, names)
            )
