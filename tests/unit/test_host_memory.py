"""Resident memory around a block of work: what the kernel's mark and the sampler see."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.host.server import memory
from plimsoll.host.server.memory import HostMeter, mapped_bytes, resident_bytes

BIG = 200 * 2**20
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the mark is Linux's")


def touch(size: int) -> bytearray:
    """Memory that is really there: one byte of each page written."""
    block = bytearray(size)
    block[:: mmap.PAGESIZE] = b"x" * len(block[:: mmap.PAGESIZE])
    return block


@linux_only
def test_the_peak_is_seen_after_it_is_over() -> None:
    with HostMeter() as meter:
        del_me = touch(BIG)
        del del_me
        kept = touch(BIG // 4)
    result = meter.result()
    assert result.method == "VmHWM, reset before loading"
    assert BIG * 0.95 < result.peak - result.before < BIG * 1.2
    assert BIG // 5 < result.after - result.before < BIG // 2
    assert len(kept) == BIG // 4
    assert (result.mapped, result.mapped_resident) == (None, None)


@linux_only
def test_an_earlier_peak_is_not_this_ones() -> None:
    del_me = touch(BIG)
    del del_me
    with HostMeter() as meter:
        pass
    result = meter.result()
    assert result.method == "VmHWM, reset before loading"
    assert result.peak - result.before < BIG // 4


@pytest.mark.parametrize("mark", ["cannot be written", "does not move"])
def test_without_the_mark_a_thread_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    if mark == "cannot be written":
        monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "none" / "clear_refs")
    else:
        monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "clear_refs")
        old = tmp_path / "status"
        old.write_text(f"VmHWM:\t{2 * resident_bytes() // 1024} kB\n")
        monkeypatch.setattr(memory, "_STATUS", old)
    with HostMeter() as meter:
        block = touch(BIG)
        while meter._sampler.peak < meter._before + 0.95 * BIG:  # a process of many tests may have had more before
            clock.sleep(0.01)
        del block
    result = meter.result()
    assert result.method == "sampled every 10 ms"
    assert result.peak - result.before >= BIG * 0.9
    assert meter._sampler is not None
    assert not meter._sampler.is_alive()


@linux_only
def test_mapped_files_are_told_from_memory(tmp_path: Path) -> None:
    mapped, other = tmp_path / "a file with spaces.bin", tmp_path / "other.bin"
    for file in (mapped, other):
        file.write_bytes(os.urandom(8 * 2**20))
    with HostMeter() as meter, mapped.open("rb") as handle:
        mapping = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        assert sum(mapping[: 4 * 2**20 : mmap.PAGESIZE]) > 0
    result = meter.result([mapped, other])
    assert result.mapped == 8 * 2**20
    assert result.mapped_resident is not None
    assert 4 * 2**20 <= result.mapped_resident <= 8 * 2**20
    mapping.close()
    assert mapped_bytes([mapped, other]) == 0


@linux_only
def test_pages_of_a_file_are_told_apart_from_what_is_held(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(2**20) * (BIG // 2**20))
    with HostMeter() as meter, path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert sum(mapped[:: mmap.PAGESIZE]) > 0
        own = touch(BIG // 4)
    result = meter.result()
    assert result.peak - result.before > BIG
    assert BIG // 5 < result.grown_peak < BIG // 2
    assert BIG // 5 < result.grown_after < BIG // 2
    assert len(own) == BIG // 4
    mapped.close()
