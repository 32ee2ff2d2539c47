"""Packs a bundle as a zip archive whose every byte is determined by the names and contents of its files.

A zip archive has many places that readers pass over: times, attributes, comments, bytes between and behind the files,
two entries of one name. Here each of them has only one value, so reading rebuilds the archive and compares: any change,
move, addition or re-packing is found. Files are stored uncompressed, because compressed bytes depend on the version of
zlib, and because an uncompressed file cannot be a zip bomb.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.errors import PlimsollError

LARGEST: Final = 2**31 - 1
"""Bytes of an archive; larger ones would need the zip64 format."""

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCAL_SIGN, _CENTRAL_SIGN, _END_SIGN = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION: Final = 20
_MIDNIGHT: Final = 0
_FIRST_DAY: Final = 0x21
"""1 January 1980, the first day that the format knows."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LONGEST_NAME: Final = 200
_MOST_FILES: Final = 10_000
"""The most files of an archive; a bundle has some twenty, and one more for each run that it resumes and each catalogue
file."""


class BundleError(PlimsollError):
    """A file that is no bundle, or is too damaged to be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The content of an archive, and its faults; `files` are in the archive's order."""

    files: Mapping[str, bytes]
    comment: bytes
    problems: tuple[str, ...] = ()


def pack(files: Mapping[str, bytes], comment: bytes) -> bytes:
    """The archive of these files, in their order. Raises BundleError where it would be too large, or for a name that
    is not one of plain relative paths."""
    body, directory = bytearray(), bytearray()
    for name, content in files.items():
        if not is_plain(name):
            raise BundleError(f"{name!r} is no name for a file in a bundle")
        encoded = name.encode("ascii")
        common = (_VERSION, 0, 0, _MIDNIGHT, _FIRST_DAY, zlib.crc32(content), len(content), len(content), len(encoded))
        directory += _CENTRAL.pack(_CENTRAL_SIGN, _VERSION, *common, 0, 0, 0, 0, 0, len(body)) + encoded
        body += _LOCAL.pack(_LOCAL_SIGN, *common, 0) + encoded + content
        if len(body) + len(directory) > LARGEST:
            raise BundleError(f"the bundle would be larger than {LARGEST} bytes; sign the variants in several runs")
    end = _END.pack(_END_SIGN, 0, 0, len(files), len(files), len(directory), len(body), len(comment))
    return bytes(body + directory + end) + comment


def unpack(data: bytes) -> Archive:
    """Read an archive. Raises BundleError for anything else, and where its files cannot be told apart."""
    files: dict[str, bytes] = {}
    problems: list[str] = []
    names: set[str] = set()
    position = 0
    while data[position : position + 4] == _LOCAL_SIGN:
        name, content, checksum, position = _entry(data, position)
        if name.casefold() in names:
            raise BundleError(f"it holds {name} twice: nobody knows which of them counts")
        if len(names) == _MOST_FILES:
            raise BundleError(f"it holds more than {_MOST_FILES} files: no bundle does")
        names.add(name.casefold())
        if zlib.crc32(content) != checksum:
            problems.append(f"{name}: its bytes do not match the checksum of the archive")
        files[name] = content
    comment_start = data.rfind(_END_SIGN) + _END.size
    if not files or comment_start < _END.size:
        raise BundleError("it is no zip archive that `plimsoll sign` wrote")
    comment = data[comment_start:]
    if not problems and pack(files, comment) != data:
        problems.append(
            "the archive itself was changed or packed anew: its own bytes are not those that `plimsoll sign` wrote"
        )
    return Archive(files=files, comment=comment, problems=tuple(problems))


def is_plain(name: str) -> bool:
    """True for a relative path that stays where it is put, on every system: `catalogue/models/tiny.toml`."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def _entry(data: bytes, position: int) -> tuple[str, bytes, int, int]:
    """Name, content, recorded CRC-32 and the position behind the entry."""
    if position + _LOCAL.size > len(data):
        raise BundleError("it ends in the middle of a file: a part of it is missing")
    fields = _LOCAL.unpack_from(data, position)
    method, checksum, size, name_length, extra_length = fields[3], fields[6], fields[7], fields[9], fields[10]
    start = position + _LOCAL.size
    end = start + name_length + extra_length + size
    name = data[start : start + name_length].decode("latin-1")
    if not is_plain(name):
        raise BundleError(f"it holds a file named {name!r}: no bundle does")
    if method or extra_length or fields[2]:
        raise BundleError(f"{name} is compressed or encrypted, so the archive was packed anew; give the original file")
    if end > len(data):
        raise BundleError(f"it ends in the middle of {name}: a part of it is missing")
    return name, data[end - size : end], checksum, end
