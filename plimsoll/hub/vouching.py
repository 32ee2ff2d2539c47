"""Holds the files of a checkpoint's folder against what was written down of them when they came: their hashes.

A few wrong bytes, a bias of zeros or two exchanged rows leave a model that talks, and no check of what it says can tell
them. So whoever vouches for a file is asked, in this order:

- the entry, where it names SHA-256 digests (`sha256`);
- the record that `hf download --local-dir` leaves beside the files, or the name of the blob that a file of the Hub's
  cache links to;
- `plimsoll.json`, the manifest of a tiny checkpoint.

Nobody vouches for other files, which a verdict says. `digests_of` makes the entry's table of a folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from plimsoll.hub.access import HubFile
from plimsoll.hub.cache import digest_of, indexed_files
from plimsoll.hub.checking import Count, check, hash_files, note
from plimsoll.hub.contents import SETTINGS
from plimsoll.hub.files import INDEX, has_weights, is_inside, is_of_the_model, needed_files
from plimsoll.hub.settings_files import CONFIG

_ENTRY: Final = "the entry (sha256)"
_DOWNLOAD: Final = ".cache/huggingface/download"
_CACHE: Final = "the Hub's cache"
_MANIFEST: Final = "plimsoll.json"
_NOTES: Final = "hub/local-{}.json"
_SHA256_DIGITS: Final = 64
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LATER: Final = 1.0
"""Seconds after its record was written from which huggingface_hub takes a file for changed by somebody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What tells a file from another in its place without reading it."""

    bytes: int
    mtime_ns: int
    digest: str | None = None
    """The hash that somebody names of it; None where nobody does, or the file is not what they say."""

    def is_as(self, other: FileState, *, one_disk: bool) -> bool:
        """True where nothing speaks against the same content. Times count on `one_disk` alone: a copy elsewhere may
        have one of its own."""
        if self.digest and other.digest and len(self.digest) == len(other.digest):
            return self.digest == other.digest
        return self.bytes == other.bytes and (self.mtime_ns == other.mtime_ns or not one_disk)


def unlike_file(first: Mapping[str, FileState], second: Mapping[str, FileState], *, one_disk: bool) -> str | None:
    """The first file that is another, or is missing on one side; None where all are the same."""
    for name in dict.fromkeys((*first, *second)):
        if name not in first or name not in second or not first[name].is_as(second[name], one_disk=one_disk):
            return name
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What is known of the files of a folder that a load reads."""

    known: tuple[str, ...]
    """Those whose hash somebody names."""
    unknown: tuple[str, ...]
    """The others."""
    changed: tuple[str, ...]
    """Those of `known` that somebody may well have changed on purpose: settings, and what was written after it came."""
    faults: Mapping[str, str]
    """File -> what is wrong with it, for the rest of those with another content."""
    files: Mapping[str, FileState]
    """The state of each file that a load reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What somebody says of a file."""

    digest: str
    by: str
    until: float | None = None
    """The time at which it was said, where a later change would be somebody's own."""


def notes_of(folder: Path, cache: Path) -> Path:
    """The file in our cache that notes which files of a folder of the user's were found sound."""
    return cache / _NOTES.format(sha256(os.fsencode(folder.absolute())).hexdigest()[:16])


def digests_of(folder: Path, notes: Path, count: Count) -> tuple[dict[str, str], dict[str, str]]:
    """The SHA-256 digest of each file that a load reads, and the faults: those that are not what somebody says who
    vouches for them already. `vouch` with the same notes reads none of them again. Raises OSError.
    """
    found = vouch(folder, {}, notes, count)
    if found.faults:
        return {}, dict(found.faults)
    manifest = _manifest(folder)
    records = {name: _record(folder, name, {}, manifest) for name in found.known if name not in found.changed}
    told = {
        name: record.digest
        for name, record in records.items()
        if record is not None and len(record.digest) == _SHA256_DIGITS
    }
    digests = {**told, **hash_files(folder, [n for n in (*found.known, *found.unknown) if n not in told], count)}
    note(folder, digests, notes)
    return dict(sorted(digests.items())), {}


def vouch(
    folder: Path,
    named: Mapping[str, str],
    notes: Path,
    count: Count,
    *,
    of_the_hub: bool = False,
    remote_code: bool = False,
    allow_pickle: bool = False,
) -> Vouched:
    """Hash the files that a load reads, except those that `notes`, a file of ours, lists as sound and unchanged.

    `named` are the digests of the entry; `of_the_hub` is True for an entry that names a repository, whose weights
    nobody may have changed. Raises OSError where a file cannot be read.
    """
    needed = _needed(folder, named, remote_code=remote_code, allow_pickle=allow_pickle)
    records = _records(folder, needed, named)
    files = [
        HubFile(path=name, size=(folder / name).stat().st_size, digest=record.digest)
        for name, record in records.items()
    ]
    unlike = check(folder, files, notes, count).faults
    changed = tuple(name for name in unlike if _is_own(folder / name, name, records[name], of_the_hub=of_the_hub))
    faults = {name: f"is not what {records[name].by} says" for name in unlike if name not in changed}
    faults |= {name: f"is missing, and {_ENTRY} names it" for name in named if not (folder / name).is_file()}
    faults |= {name: f"would be read, and {_ENTRY} does not name it" for name in needed if _is_new(name, named)}
    sound = {name: record for name, record in records.items() if name not in unlike}
    return Vouched(
        known=tuple(records),
        unknown=tuple(n for n in needed if n not in records),
        changed=changed,
        faults=faults,
        files=_states(folder, needed, sound),
    )


def states_of(folder: Path, named: Mapping[str, str], *, remote_code: bool, allow_pickle: bool) -> dict[str, FileState]:
    """The state of each file that a load would read now, with what is said of it; nothing is read but settings and
    records. Raises OSError."""
    needed = _needed(folder, named, remote_code=remote_code, allow_pickle=allow_pickle)
    return _states(folder, needed, _records(folder, needed, named))


def _states(folder: Path, names: Iterable[str], records: Mapping[str, _Record]) -> dict[str, FileState]:
    found = {}
    for name in names:
        status = (folder / name).stat()
        digest = records[name].digest if name in records else None
        found[name] = FileState(bytes=status.st_size, mtime_ns=status.st_mtime_ns, digest=digest)
    return found


def _needed(folder: Path, named: Mapping[str, str], *, remote_code: bool, allow_pickle: bool) -> tuple[str, ...]:
    there = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    read = needed_files(
        filter(is_of_the_model, there),
        remote_code=remote_code,
        allow_pickle=allow_pickle,
        indexed=indexed_files(folder / INDEX) or (),
    )
    return tuple(dict.fromkeys(name for name in (*read, *named) if name != _MANIFEST and name in there))


def _records(folder: Path, names: Iterable[str], named: Mapping[str, str]) -> dict[str, _Record]:
    manifest = _manifest(folder)
    return {name: record for name in names if (record := _record(folder, name, named, manifest)) is not None}


def _is_new(name: str, named: Mapping[str, str]) -> bool:
    """True for a file that came after the entry's digests: weights where those name weights, and any other file where
    they name config.json, for then they are of the whole folder."""
    if name in named:
        return False
    return has_weights(named) if has_weights([name]) else CONFIG in named


def _record(folder: Path, name: str, named: Mapping[str, str], manifest: Mapping[str, str]) -> _Record | None:
    if name in named:
        return _Record(digest=named[name], by=_ENTRY)
    if (found := _downloaded(folder, name)) is not None:
        return found
    if (blob := digest_of(folder / name)) is not None:
        return _Record(digest=blob, by=_CACHE)
    return _Record(digest=manifest[name], by=_MANIFEST) if name in manifest else None


def _downloaded(folder: Path, name: str) -> _Record | None:
    """What huggingface_hub wrote down: the commit, the hash and the time, a line each."""
    try:
        _, digest, until = (folder / _DOWNLOAD / f"{name}.metadata").read_text("utf-8").split("\n")[:3]
        record = _Record(digest=digest.strip(), by="its download record (.cache/huggingface)", until=float(until))
    except (OSError, ValueError):
        return None
    return record if _HASH.fullmatch(record.digest) else None


def _manifest(folder: Path) -> dict[str, str]:
    try:
        files: list[Any] = json.loads((folder / _MANIFEST).read_text("utf-8"))["files"]
        found = {file["name"]: file["sha256"] for file in files}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: str(digest) for name, digest in found.items() if is_inside(name) and _HASH.fullmatch(str(digest))}


def _is_own(file: Path, name: str, record: _Record, *, of_the_hub: bool) -> bool:
    if record.by == _ENTRY:
        return False
    if name in SETTINGS:
        return True
    return not of_the_hub and record.until is not None and file.stat().st_mtime - _LATER > record.until
