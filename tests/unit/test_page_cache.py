"""The page cache, really filled and emptied, and what is said where it cannot be read."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest

from plimsoll.host.server import page_cache
from plimsoll.host.server.page_cache import prepare, residency

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is cached")
SIZE = 8 * 2**20


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files that were just written, so that their pages are cached and dirty."""
    made = [tmp_path / "first.bin", tmp_path / "second.bin"]
    for file in made:
        file.write_bytes(os.urandom(SIZE))
    state = prepare(made, "cold")
    if state.resident:
        pytest.skip(f"this file system does not evict: {state.note}")
    return made


def test_cold_evicts_even_what_was_just_written(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "_TIMEOUT", -1.0)
    files[0].write_bytes(os.urandom(SIZE))
    assert residency(files) == pytest.approx(0.5, abs=0.01)
    state = prepare(files, "cold")
    assert (state.asked, state.resident, state.note) == ("cold", 0.0, "")


def test_warm_reads_everything(files: list[Path]) -> None:
    state = prepare(files, "warm")
    assert (state.asked, state.resident, state.note) == ("warm", 1.0, "")


def test_as_is_changes_nothing_and_measures(files: list[Path]) -> None:
    with files[0].open("rb") as handle:
        handle.read()
    state = prepare(files, "as-is")
    assert state.asked == "as-is"
    assert state.resident == pytest.approx(0.5, abs=0.01)


def test_files_that_stay_are_reported_and_not_called_cold(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that a process has mapped and touched cannot be evicted."""
    monkeypatch.setattr(page_cache, "_TIMEOUT", 0.3)
    with files[0].open("rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        assert sum(mapping[:: mmap.PAGESIZE]) > 0
        state = prepare(files, "cold")
    assert state.resident == pytest.approx(0.5, abs=0.01)
    assert state.note == "50% of the files stayed in the page cache: another process maps them, or they lie on tmpfs"


def test_tmpfs_does_not_evict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "_TIMEOUT", 0.0)
    folder = Path("/dev/shm")  # noqa: S108  the point is a file system in memory
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        pytest.skip("no tmpfs here")
    file = folder / f"plimsoll-{os.getpid()}.bin"
    file.write_bytes(bytes(SIZE))
    try:
        state = prepare([file], "cold")
    finally:
        file.unlink()
    assert state.resident == 1.0
    assert "tmpfs" in state.note


def test_a_foreign_file_is_not_asked_about(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would answer "all resident" for it, whatever is true."""
    monkeypatch.setattr(os, "geteuid", lambda: files[0].stat().st_uid + 1)
    monkeypatch.setattr(os, "access", lambda *_: False)
    state = prepare(files, "cold")
    assert state.resident is None
    assert state.note == f"{files[0]} belongs to another user, so Linux does not tell what is cached"


def test_other_systems_say_that_they_do_not_know(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "posix_fadvise")
    state = prepare(files, "cold")
    assert state.resident is None
    assert state.note == "darwin has no way to evict files from the page cache"
    assert prepare(files, "warm").note == "darwin does not tell which pages of a file are cached"


def test_no_files_and_empty_files_have_no_residency(tmp_path: Path) -> None:
    assert prepare((), "cold").resident is None
    assert prepare((), "cold").note == "the checkpoint's files are not known before it is loaded"
    empty = tmp_path / "empty"
    empty.touch()
    assert prepare([empty], "cold").resident is None


def test_another_state_is_an_error(files: list[Path]) -> None:
    with pytest.raises(ValueError, match="cold, warm, as-is, not 'hot'"):
        prepare(files, "hot")
