"""Reads the headers of safetensors files: which tensors there are, of which dtype and size, without their bytes.

A file begins with the length of its header (8 bytes, little-endian) and the header, in JSON. So two short reads
describe gigabytes, on a disk or by ranges of a file on the Hub. The caller provides the function that reads bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LENGTH_BYTES: Final = 8
_LONGEST: Final = 100 * 10**6
"""The largest header in bytes: the format's own limit."""

_BYTES: Final = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
}
"""Bytes of a number in the formats that take whole bytes."""
_SHOWN: Final = 120
"""Characters of a tensor's name that a message shows."""

Read = Callable[[int, int], bytes]
"""Reads the bytes of a file from a start up to an end, which is excluded."""


class HeaderError(ValueError):
    """A file that is no safetensors file, or an incomplete one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DtypeTotals:
    """The tensors of one dtype in a checkpoint's files."""

    dtype: str
    """As the format writes it: `BF16`, `F32`, `F8_E4M3`, `U8`, ..."""
    tensors: int
    elements: int
    bytes: int


def read_header(read: Read, size: int) -> tuple[DtypeTotals, ...]:
    """The tensors of a file of so many bytes, by dtype. Raises HeaderError, and what `read` raises."""
    if size <= LENGTH_BYTES:
        raise HeaderError(f"holds {size} bytes, and a safetensors file begins with 8 that say how long its header is")
    length = int.from_bytes(read(0, LENGTH_BYTES), "little")
    if not 0 < length <= min(_LONGEST, size - LENGTH_BYTES):
        raise HeaderError(f"says that its header has {length:,} bytes, of {size:,} in the whole file")
    try:
        header = json.loads(read(LENGTH_BYTES, LENGTH_BYTES + length))
        entries = {str(name): entry for name, entry in header.items() if name != "__metadata__"}
        found = total(map(_stored, entries.values()))
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
        fault = _fault(entries)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise HeaderError(f"has a header that cannot be read ({type(error).__name__})") from error
    if LENGTH_BYTES + length + end != size:
        raise HeaderError(f"has {size:,} bytes, and its header speaks of {LENGTH_BYTES + length + end:,}")
    if fault:
        raise HeaderError(fault)
    return found


def _fault(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """What is wrong with the places of tensors, which the format wants one after another without a gap, and with the
    bytes of their shapes; empty where nothing is."""
    position = 0
    offsets = {name: entry["data_offsets"] for name, entry in entries.items()}
    for start, end, name in sorted((int(first), int(last), name) for name, (first, last) in offsets.items()):
        if start != position or end < start:
            what = "tensors overlap, or leave a gap"
            return f"puts {name[:_SHOWN]} at byte {start:,}, where {position:,} is the next: {what}"
        position = end
        entry = entries[name]
        width = _BYTES.get(str(entry["dtype"]))
        wanted = None if width is None else width * math.prod(map(int, entry["shape"]))
        if wanted not in (None, end - start):
            return f"gives {name[:_SHOWN]} {end - start:,} bytes, and its shape takes {wanted:,} in {entry['dtype']}"
    return ""


def read_file_header(path: Path) -> tuple[DtypeTotals, ...]:
    """The tensors of a file on this disk, by dtype. Raises HeaderError and OSError."""
    with path.open("rb") as file:

        def read(start: int, end: int) -> bytes:
            file.seek(start)
            return file.read(end - start)

        return read_header(read, path.stat().st_size)


def total(parts: Iterable[DtypeTotals]) -> tuple[DtypeTotals, ...]:
    """The totals of each dtype, in the order of the names."""
    sums: dict[str, list[int]] = {}
    for part in parts:
        counts = sums.setdefault(part.dtype, [0, 0, 0])
        for place, more in enumerate((part.tensors, part.elements, part.bytes)):
            counts[place] += more
    return tuple(
        DtypeTotals(dtype=dtype, tensors=counts[0], elements=counts[1], bytes=counts[2])
        for dtype, counts in sorted(sums.items())
    )


def _stored(entry: Mapping[str, Any]) -> DtypeTotals:
    start, end = entry["data_offsets"]
    return DtypeTotals(
        dtype=str(entry["dtype"])[:20],
        tensors=1,
        elements=math.prod(map(int, entry["shape"])),
        bytes=int(end) - int(start),
    )
