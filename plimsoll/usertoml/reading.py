"""Reads TOML files that a user wrote; each step that can fail reports where and what to do."""

from __future__ import annotations

import errno
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from plimsoll.errors import Fault

_LARGEST: Final = 64 * 2**20
"""The largest file that is read, in bytes."""
_PLACE: Final = re.compile(r"\s*\(at (?P<place>[^()]+)\)$")


def read_bytes(path: Path, label: str) -> bytes | Fault:
    """The bytes of a file, which messages call `label`."""
    try:
        return read_file(path)
    except FileNotFoundError:
        return Fault(where=label, what="there is no such file")
    except IsADirectoryError:
        return Fault(where=label, what="is a folder", fix="name the TOML files in it, one by one")
    except OSError as error:
        return Fault(where=label, what=f"cannot be read: {error.strerror or error}")


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
