"""Brings a checkpoint into the page cache, or evicts it, and measures how much of it is there.

A load from the page cache and a load from disk differ by an order of magnitude, so a load time without the state of
the cache says nothing. Evicting is a request that the system may refuse (files that another process maps, tmpfs), so
what is reported is what mincore found afterwards, never what was asked.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.host.protocol import CacheState

STATES: Final = ("cold", "warm", "as-is")
_EVICTED: Final = 0.001
"""Fraction that may stay resident and still count as cold: the kernel keeps a page of a header here and there."""
_TIMEOUT: Final = 5.0
"""Seconds of trying to evict: another run may have the files mapped, and tiny variants come and go."""
_PAUSE: Final = 0.1
_CHUNK: Final = 4 * 2**20
_LOWEST_BIT: Final = bytes(byte & 1 for byte in range(256))
"""mincore answers with a byte a page, of which only this bit means anything."""


def prepare(files: Sequence[Path], asked: str) -> CacheState:
    """Bring files into the state asked for (`cold`, `warm` or `as-is`) and measure what came of it.

    Raises ValueError for another state, and OSError for a file that cannot be read.
    """
    if asked not in STATES:
        raise ValueError(f"the page cache can be {', '.join(STATES)}, not {asked!r}")
    if not files:
        return CacheState(asked=asked, resident=None, note="the checkpoint's files are not known before it is loaded")
    if asked == "cold":
        return _cold(files)
    if asked == "warm":
        _read(files)
    return CacheState(asked=asked, resident=residency(files), note=unreadable_reason(files))


def _cold(files: Sequence[Path]) -> CacheState:
    if not hasattr(os, "posix_fadvise"):
        note = f"{sys.platform} has no way to evict files from the page cache"
        return CacheState(asked="cold", resident=residency(files), note=note)
    began = clock.monotonic()
    while True:
        _evict(files)
        resident = residency(files)
        if resident is None or resident <= _EVICTED:
            return CacheState(asked="cold", resident=resident, note=unreadable_reason(files))
        if clock.monotonic() - began > _TIMEOUT:
            break
        clock.sleep(_PAUSE)
    note = f"{resident:.0%} of the files stayed in the page cache: another process maps them, or they lie on tmpfs"
    return CacheState(asked="cold", resident=resident, note=note)


def _evict(files: Iterable[Path]) -> None:
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            # Dirty pages cannot be dropped, and a checkpoint that was just written has them.
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _read(files: Iterable[Path]) -> None:
    buffer = bytearray(_CHUNK)
    for file in files:
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass


def unreadable_reason(files: Iterable[Path]) -> str:
    """Why residency cannot be measured; empty where it can.

    Since Linux 5.2 mincore answers "all resident" for a file that the caller neither owns nor may write, lest the page
    cache tell on other users; that answer is not taken.
    """
    if sys.platform != "linux":
        return f"{sys.platform} does not tell which pages of a file are cached"
    foreign = [file for file in files if file.stat().st_uid != os.geteuid() and not os.access(file, os.W_OK)]
    return f"{foreign[0]} belongs to another user, so Linux does not tell what is cached" if foreign else ""


def residency(files: Sequence[Path]) -> float | None:
    """The fraction of the files' pages that is in the page cache (0..1); None where the system cannot tell."""
    if unreadable_reason(files):
        return None
    counts = [_resident_pages(file) for file in files]
    total = sum(pages for _, pages in counts)
    return sum(resident for resident, _ in counts) / total if total else None


def _resident_pages(file: Path) -> tuple[int, int]:
    """Cached pages and all pages of a file; raises OSError where mincore fails."""
    size = file.stat().st_size
    if size == 0:
        return 0, 0
    libc = ctypes.CDLL(None, use_errno=True)
    # Python's own mmap object hides its address for a read-only mapping, hence the calls by hand.
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    finally:
        os.close(descriptor)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(file))
    vector = ctypes.create_string_buffer(-(size // -mmap.PAGESIZE))
    try:
        if libc.mincore(address, size, vector) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(file))
    finally:
        libc.munmap(address, size)
    return vector.raw.translate(_LOWEST_BIT).count(1), len(vector)
