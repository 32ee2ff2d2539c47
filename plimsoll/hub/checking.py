"""Checks a snapshot's files against the digests that the Hub gives.

huggingface_hub compares only sizes. A wrongly resumed download or a failing disk keeps the size and changes the
weights, and a model with a few wrong bytes still talks. So each file is hashed once, and again when it has changed
since.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plimsoll.hub.access import HubFile
from plimsoll.hub.cache import digest_of

_THREADS: Final = 4
"""Hashing releases the interpreter's lock, and one core hashes more slowly than a good disk reads."""
_CHUNK: Final = 4 * 2**20
_SHA256_DIGITS: Final = 64

Count = Callable[[int], None]
"""Called from several threads, with the bytes hashed since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of checking: the files hashed now, those without a known hash, and the faults."""

    hashed: tuple[str, ...]
    unknown: tuple[str, ...]
    faults: Mapping[str, str]
    """File -> what is wrong with it."""


def check(folder: Path, files: Iterable[HubFile], notes: Path, count: Count) -> Checked:
    """Hash the files of a snapshot, except those that `notes`, a file of ours, lists as sound and that have not
    changed.

    Raises OSError where a file cannot be read; where notes cannot be written, only the next check takes longer.
    """
    known = _read(notes)
    wanted = {file.path: file.digest or digest_of(folder / file.path) for file in files}
    unknown = tuple(path for path, digest in wanted.items() if digest is None)
    due = {
        path: digest for path, digest in wanted.items() if digest and known.get(path) != _state(folder / path, digest)
    }

    def examine(item: tuple[str, str]) -> tuple[str, str | None]:
        path, digest = item
        found = content_digest(folder / path, digest, count)
        return path, None if found == digest else f"its content hashes to {found}, and the Hub says {digest}"

    with ThreadPoolExecutor(_THREADS) as pool:
        results = dict(pool.map(examine, due.items()))
    faults = {path: fault for path, fault in results.items() if fault is not None}
    sound = {path: _state(folder / path, digest) for path, digest in due.items() if path not in faults}
    _write(notes, {**known, **sound})
    return Checked(hashed=tuple(due), unknown=unknown, faults=faults)


def hash_files(folder: Path, names: Iterable[str], count: Count) -> dict[str, str]:
    """The SHA-256 digest of each file, hashed now. Raises OSError where one cannot be read."""
    wanted = tuple(names)
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(wanted, pool.map(lambda name: _sha256(folder / name, count), wanted), strict=True))


def note(folder: Path, digests: Mapping[str, str], notes: Path) -> None:
    """Note that files have these digests now, so that `check` reads none of them again before it changes."""
    _write(notes, {**_read(notes), **{path: _state(folder / path, digest) for path, digest in digests.items()}})


def _sha256(file: Path, count: Count) -> str:
    return content_digest(file, "0" * _SHA256_DIGITS, count)


def content_digest(file: Path, like: str, count: Count) -> str:
    """The hash of a file's content, of the same kind as `like`: SHA-256, or git's blob id."""
    if len(like) == _SHA256_DIGITS:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
            count(len(chunk))
    return digest.hexdigest()


def discard(folder: Path, path: str) -> None:
    """Remove a damaged file, and the blob that it links to, so that the next run fetches it anew."""
    link = folder / path
    with suppress(OSError):
        link.resolve(strict=True).unlink()
    link.unlink(missing_ok=True)


def _state(file: Path, digest: str) -> list[Any]:
    """The properties of a file that change when it is modified; the time of change of its inode, which nobody can set,
    tells of those that were given their old date again."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, digest]


def _read(notes: Path) -> dict[str, Any]:
    try:
        data = json.loads(notes.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write(notes: Path, states: Mapping[str, Any]) -> None:
    with suppress(OSError):
        notes.parent.mkdir(parents=True, exist_ok=True)
        draft = notes.with_name(f"{notes.name}.{os.getpid()}")
        draft.write_text(json.dumps(states), encoding="utf-8")
        draft.replace(notes)
