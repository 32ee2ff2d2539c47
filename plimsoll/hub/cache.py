"""Reads the Hub's local cache, in the layout that huggingface_hub documents and programs share.

It does so without that library, which takes half a second to import: `models--OWNER--NAME/refs/REVISION` names a
commit, `snapshots/COMMIT/` links its files to `blobs/HASH`.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll.hub.files import INDEX, PICKLE_INDEX, PICKLE_WEIGHTS, WEIGHTS, has_tokenizer, is_inside
from plimsoll.node.storage import hub_cache

DEFAULT_REVISION: Final = "main"

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_READS_BYTES: Final = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
"""Tokenizer classes of transformers that need no vocabulary file."""


def is_commit(revision: str | None) -> bool:
    """True for the 40 digits of a commit, which always mean the same files; a branch or a tag can move."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def repository_folder(repository: str) -> Path:
    """Where the cache keeps a repository, whether it is there or not."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def snapshot_folder(repository: str, commit: str) -> Path:
    """Where the files of a commit are, or would be."""
    return repository_folder(repository) / "snapshots" / commit


def known_commit(repository: str, revision: str | None) -> str | None:
    """The commit of a revision when it was last asked for; None where it never was."""
    if is_commit(revision):
        return revision
    try:
        commit = (repository_folder(repository) / "refs" / (revision or DEFAULT_REVISION)).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) else None


def remember_commit(repository: str, revision: str | None, commit: str) -> None:
    """Note the commit of a revision, for when the Hub cannot be asked. Raises OSError."""
    if is_commit(revision):
        return
    path = repository_folder(repository) / "refs" / (revision or DEFAULT_REVISION)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(commit, encoding="ascii")
    draft.replace(path)


def lacking(folder: Path, *, allow_pickle: bool = False) -> str | None:
    """The first file that a load would miss in a snapshot; None where it is whole. The folder of an interrupted
    download looks like a finished one."""
    if not (folder / "config.json").exists():
        return "config.json"
    kinds = [(WEIGHTS, INDEX), *([(PICKLE_WEIGHTS, PICKLE_INDEX)] if allow_pickle else [])]
    found = next((kind for kind in kinds if any((folder / name).exists() for name in kind)), None)
    if found is None:
        return WEIGHTS
    whole, index = found
    if not (folder / whole).exists() and (shard := _missing_shard(folder / index)) is not None:
        return shard
    there = [path.name for path in folder.iterdir() if path.exists()]
    return None if has_tokenizer(there) or _reads_bytes(folder / "tokenizer_config.json") else "tokenizer.json"


def _reads_bytes(config: Path) -> bool:
    try:
        return str(json.loads(config.read_text("utf-8"))["tokenizer_class"]) in _READS_BYTES
    except (OSError, ValueError, KeyError, TypeError):
        return False


def indexed_files(index: Path) -> tuple[str, ...] | None:
    """The files that an index lists, sorted; None where it is no valid index of files in its own folder."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    return tuple(sorted(names)) if names and all(map(is_inside, names)) else None


def _missing_shard(index: Path) -> str | None:
    names = indexed_files(index)
    if names is None:
        return index.name
    return next((name for name in names if not (index.parent / name).exists()), None)


def digest_of(file: Path) -> str | None:
    """The hash that the content of a snapshot's file must have, from the name of the blob that it links to; None where
    it is no link, as on a file system without links."""
    with suppress(OSError):
        name = file.readlink().name
        return name if _HASH.fullmatch(name) else None
    return None
