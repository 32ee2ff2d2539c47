"""What is known of the files in a folder, and which of them are not what they were."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub._local_folder import write_download_metadata

from plimsoll.hub.vouching import Vouched, digests_of, notes_of, states_of, unlike_file, vouch

WEIGHTS = "model.safetensors"
FILES = (WEIGHTS, "config.json", "tokenizer.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a checkpoint, as far as their hashes matter."""
    made = tmp_path / "mine"
    made.mkdir()
    for name in (*FILES, "README.md"):
        (made / name).write_bytes(name.encode() * 50)  # each of a size of its own
    return made


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def blob_id(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def as_downloaded(folder: Path) -> None:
    """What huggingface_hub's own code writes down."""
    for name in FILES:
        digest = sha256(folder / name) if name == WEIGHTS else blob_id(folder / name)
        write_download_metadata(folder, name, "c" * 40, digest)


def with_manifest(folder: Path) -> None:
    files = [{"name": name, "bytes": 1, "sha256": sha256(folder / name)} for name in FILES]
    (folder / "plimsoll.json").write_text(json.dumps({"files": files}))


def linked(folder: Path) -> None:
    """As in the Hub's cache."""
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for name in FILES:
        blob = blobs / (sha256(folder / name) if name == WEIGHTS else blob_id(folder / name))
        (folder / name).rename(blob)
        (folder / name).symlink_to(Path("..", "blobs", blob.name))


def damage(file: Path, *, seen: bool = False) -> None:
    """Turn a byte, as a disk does, without a later time; `seen` with one, as somebody would who wrote it."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    later = 60_000_000_000 if seen else 0
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + later))


def asked(folder: Path, named: dict[str, str] | None = None, **options: Any) -> Vouched:
    return vouch(folder, named or {}, folder.parent / "notes.json", lambda _: None, **options)


@pytest.mark.parametrize("record", [as_downloaded, with_manifest, linked])
def test_files_as_they_came_are_known(record: Any, folder: Path) -> None:
    record(folder)
    found = asked(folder)
    assert sorted(found.known) == sorted(FILES)
    assert (found.unknown, found.changed, found.faults) == ((), (), {})


@pytest.mark.parametrize(
    ("record", "by"),
    [
        (as_downloaded, "its download record (.cache/huggingface)"),
        (with_manifest, "plimsoll.json"),
        (linked, "the Hub's cache"),
    ],
)
@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_a_turned_byte_is_found(record: Any, by: str, name: str, folder: Path) -> None:
    record(folder)
    damage(folder / name)
    assert asked(folder).faults == {name: f"is not what {by} says"}


def test_a_file_that_was_found_sound_is_hashed_again_once_it_changes(folder: Path) -> None:
    as_downloaded(folder)
    assert asked(folder).faults == {}
    read: list[int] = []
    vouch(folder, {}, folder.parent / "notes.json", read.append)
    assert read == [], "what has not changed is not read again"
    time.sleep(0.02)
    (folder / WEIGHTS).write_bytes(b"other" * 100)
    os.utime(folder / WEIGHTS, (0, 0))
    assert asked(folder).faults.keys() == {WEIGHTS}


def test_a_file_that_was_found_sound_and_has_other_content_under_its_old_date_is_found(folder: Path) -> None:
    """As `cp -p` and `touch -r` leave one."""
    named = {WEIGHTS: sha256(folder / WEIGHTS)}
    assert asked(folder, named).faults == {}
    time.sleep(0.02)
    before = (folder / WEIGHTS).stat()
    damage(folder / WEIGHTS)
    after = (folder / WEIGHTS).stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert asked(folder, named).faults == {WEIGHTS: "is not what the entry (sha256) says"}


def test_settings_that_somebody_edited_are_told_and_no_fault(folder: Path) -> None:
    as_downloaded(folder)
    damage(folder / "config.json", seen=True)
    found = asked(folder)
    assert (found.changed, found.faults) == (("config.json",), {})


def test_weights_of_ones_own_over_those_that_came_are_told_and_no_fault(folder: Path) -> None:
    """A model that was tuned and saved where its base was downloaded."""
    as_downloaded(folder)
    damage(folder / WEIGHTS, seen=True)
    assert asked(folder).changed == (WEIGHTS,)
    assert asked(folder, of_the_hub=True).faults.keys() == {WEIGHTS}, "an entry of the Hub means the Hub's"


def test_the_entry_has_the_first_word(folder: Path) -> None:
    as_downloaded(folder)
    named = {name: sha256(folder / name) for name in (*FILES, "README.md")}
    assert asked(folder, named).faults == {}
    damage(folder / "config.json", seen=True)
    damage(folder / "README.md", seen=True)
    (folder / "tokenizer.json").unlink()
    assert asked(folder, named).faults == {
        "config.json": "is not what the entry (sha256) says",
        "README.md": "is not what the entry (sha256) says",
        "tokenizer.json": "is missing, and the entry (sha256) names it",
    }


@pytest.mark.parametrize("record", [as_downloaded, with_manifest, linked, lambda folder: None])
def test_digests_for_an_entry_are_those_of_what_a_load_reads(record: Any, folder: Path) -> None:
    record(folder)
    notes = notes_of(folder, folder.parent / "cache")
    read: list[int] = []
    digests, faults = digests_of(folder, notes, read.append)
    assert (digests, faults) == ({name: sha256(folder / name) for name in sorted(FILES)}, {})
    assert read.count((folder / WEIGHTS).stat().st_size) == 1, "weights are read once"
    again: list[int] = []
    assert vouch(folder, digests, notes, again.append).faults == {}
    assert again == [], "the run after it reads nothing again"
    damage(folder / WEIGHTS, seen=True)
    assert vouch(folder, digests, notes, again.append).faults == {WEIGHTS: "is not what the entry (sha256) says"}


@pytest.mark.parametrize("record", [as_downloaded, with_manifest, linked])
def test_what_is_damaged_already_gets_no_digests(record: Any, folder: Path) -> None:
    record(folder)
    damage(folder / WEIGHTS)
    digests, faults = digests_of(folder, folder.parent / "notes.json", lambda _: None)
    assert (digests, list(faults)) == ({}, [WEIGHTS])


def test_what_somebody_changed_on_purpose_is_digested_as_it_is(folder: Path) -> None:
    as_downloaded(folder)
    damage(folder / "config.json", seen=True)
    damage(folder / WEIGHTS, seen=True)
    digests, _ = digests_of(folder, folder.parent / "notes.json", lambda _: None)
    assert digests == {name: sha256(folder / name) for name in sorted(FILES)}


@pytest.mark.parametrize(
    ("named", "new", "is_fault"),
    [
        (FILES, "model.safetensors.index.json", False),
        (FILES, "adapter_config.json", True),
        (FILES, "added_tokens.json", True),
        (FILES, "README.txt", False),
        (FILES, "trainer_state.json", False),
        (FILES, "eval_results.json", False),
        ((WEIGHTS,), "added_tokens.json", False),
        (("tokenizer.json", "config.json"), WEIGHTS, False),
    ],
)
def test_a_file_that_came_after_the_digests(named: tuple[str, ...], new: str, is_fault: bool, folder: Path) -> None:
    digests = {name: sha256(folder / name) for name in named}
    (folder / new).write_text("{}")
    fault = {new: "would be read, and the entry (sha256) does not name it"} if is_fault else {}
    assert asked(folder, digests).faults == fault


def test_what_training_and_tests_leave_beside_a_model_is_nobodys_business(folder: Path) -> None:
    """It is no part of the model, and whoever evaluates a model writes it anew."""
    for name in ("trainer_state.json", "all_results.json", "training_info.json"):
        (folder / name).write_text("{}")
    for name in ("added_tokens.json", "entity_vocab.json", "preprocessor_config.json", "chat_template.jinja"):
        (folder / name).write_text("{}")
    digests, _ = digests_of(folder, folder.parent / "notes.json", lambda _: None)
    others = {"added_tokens.json", "entity_vocab.json", "preprocessor_config.json", "chat_template.jinja"}
    assert digests.keys() == {*FILES, *others}
    (folder / "all_results.json").write_text("[]")
    found = asked(folder, digests)
    assert (found.faults, found.unknown) == ({}, ())


def test_weights_that_are_read_instead_of_those_that_the_entry_names(folder: Path) -> None:
    """A whole file goes before shards."""
    shard, index = "model-00001-of-00001.safetensors", "model.safetensors.index.json"
    (folder / WEIGHTS).rename(folder / shard)
    (folder / index).write_text(json.dumps({"weight_map": {"x": shard}}))
    named = {shard: sha256(folder / shard)}
    assert asked(folder, named).faults == {}
    (folder / WEIGHTS).write_bytes(b"other weights")
    assert asked(folder, named).faults == {WEIGHTS: "would be read, and the entry (sha256) does not name it"}


def test_nobody_vouches_for_a_folder_without_a_record(folder: Path) -> None:
    found = asked(folder)
    assert (found.known, sorted(found.unknown), found.faults) == ((), sorted(FILES), {})


@pytest.mark.parametrize("text", ["", "c\n", "c\nno hash\n1.0\n", "c\n" + "0" * 64 + "\nlater\n"])
def test_a_record_that_cannot_be_read_is_none(text: str, folder: Path) -> None:
    as_downloaded(folder)
    (folder / ".cache" / "huggingface" / "download" / f"{WEIGHTS}.metadata").write_text(text)
    (folder / "plimsoll.json").write_text(text or '{"files": [{"name": "../x", "sha256": 3}]}')
    assert asked(folder).unknown == (WEIGHTS,)


def now(folder: Path) -> dict[str, Any]:
    return {**states_of(folder, {}, remote_code=False, allow_pickle=False)}


def test_the_same_files_are_told_without_reading_them(folder: Path) -> None:
    then = asked(folder).files
    assert sorted(then) == sorted(FILES)
    assert unlike_file(then, now(folder), one_disk=True) is None
    (folder / "README.md").write_text("read by nobody")
    assert unlike_file(then, now(folder), one_disk=True) is None
    damage(folder / WEIGHTS, seen=True)
    assert unlike_file(then, now(folder), one_disk=True) == WEIGHTS
    assert unlike_file(then, now(folder), one_disk=False) is None, "a copy on another node has a time of its own"
    (folder / WEIGHTS).unlink()
    assert unlike_file(then, now(folder), one_disk=False) == WEIGHTS
    (folder / "model-2.safetensors").write_bytes(b"2")
    assert unlike_file(then, now(folder), one_disk=False) is not None


def test_a_file_that_somebody_vouches_for_may_come_again(folder: Path) -> None:
    with_manifest(folder)
    then = asked(folder).files
    os.utime(folder / WEIGHTS, ns=(0, 0))
    assert unlike_file(then, now(folder), one_disk=True) is None
    damage(folder / WEIGHTS)
    with_manifest(folder)
    assert unlike_file(then, now(folder), one_disk=True) == WEIGHTS


def test_what_a_changed_file_should_be_says_nothing_of_it(folder: Path) -> None:
    """Settings may be changed on purpose: the record beside them is of other ones."""
    with_manifest(folder)
    damage(folder / "config.json", seen=True)
    then = asked(folder).files
    assert then["config.json"].digest is None
    assert unlike_file(then, now(folder), one_disk=True) is None
    damage(folder / "config.json", seen=True)
    assert unlike_file(then, now(folder), one_disk=True) == "config.json"
