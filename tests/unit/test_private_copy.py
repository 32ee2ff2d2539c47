"""Private copies for cold loads: a folder of one's own, which goes when it is done with or its run was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures import private_copy
from fixtures.private_copy import copy_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny-llama"
    (folder / "part").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "part" / "model.safetensors").write_bytes(b"weights")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_copy_has_the_files_and_shares_none_of_them(source: Path, tmp_path: Path) -> None:
    one, other = copy_of(source, tmp_path / "cold"), copy_of(source, tmp_path / "cold")
    assert one is not None
    assert other is not None
    assert one.folder != other.folder
    assert one.folder.name == "tiny-llama"
    assert files_of(one.folder) == files_of(other.folder) == files_of(source)
    nodes = {(folder / "config.json").stat().st_ino for folder in (source, one.folder, other.folder)}
    assert len(nodes) == 3, "what another run maps would stay in the page cache"
    one.remove()
    other.remove()


def test_links_of_the_hubs_cache_are_copied_as_files(source: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "config.json").symlink_to(source / "config.json")
    copy = copy_of(snapshot, tmp_path / "cold")
    assert copy is not None
    assert not (copy.folder / "config.json").is_symlink()
    copy.remove()


def test_nothing_is_left_of_a_copy_that_was_removed(source: Path, tmp_path: Path) -> None:
    copy = copy_of(source, tmp_path / "cold")
    assert copy is not None
    copy.remove()
    copy.remove()
    assert list((tmp_path / "cold").iterdir()) == []
    assert len(files_of(source)) == 2


def test_what_is_too_large_or_no_folder_is_left_where_it_is(source: Path, tmp_path: Path) -> None:
    with (source / "large.safetensors").open("wb") as file:
        file.truncate(2**30 + 1)  # a hole: it takes no room
    assert copy_of(source, tmp_path / "cold") is None
    assert copy_of(source / "config.json", tmp_path / "cold") is None
    assert copy_of(tmp_path / "nowhere", tmp_path / "cold") is None
    assert not (tmp_path / "cold").exists()


def test_where_nothing_can_be_written_the_original_does(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert copy_of(source, tmp_path / "file" / "cold") is None


def test_nothing_is_left_of_a_copy_that_failed_half_way(source: Path, tmp_path: Path) -> None:
    (source / "lost").symlink_to(tmp_path / "nowhere")
    assert copy_of(source, tmp_path / "cold") is None
    assert list((tmp_path / "cold").iterdir()) == []


def test_what_a_killed_run_left_is_swept_and_what_another_uses_stays(source: Path, tmp_path: Path) -> None:
    room = tmp_path / "cold"
    used = copy_of(source, room)
    assert used is not None
    left = room / "killed"
    (left / "tiny-llama").mkdir(parents=True)
    (room / f"killed{private_copy._LOCK}").touch()
    again = copy_of(source, room)
    assert again is not None
    assert not left.exists()
    assert not (room / f"killed{private_copy._LOCK}").exists()
    assert files_of(used.folder) == files_of(source)
    used.remove()
    again.remove()
