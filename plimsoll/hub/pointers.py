"""Recognises files without their content: Git LFS pointers, and dangling links.

A clone without git-lfs has a hundred bytes of text in place of each large file, and a snapshot of the Hub that was
copied without its blobs has only links. Both look whole in a listing.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LFS: Final = b"version https://git-lfs.github.com/spec/"
_LFS_MOST: Final = 1024
"""The largest pointer in bytes, by the specification."""


def stand_in(path: Path) -> str | None:
    """What a file is instead of its content, with the next step; None for a real file, and for one that does not
    exist."""
    if path.is_symlink() and not path.exists():
        target = str(path.readlink())
        return (
            f"is a link to {target[:200]}, which is not here; copy the folder again with its files (cp -rL, rsync -L)"
        )
    try:
        found = path.stat()
        # To open a pipe would wait for who writes into it.
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LFS_MOST:
            return None
        with path.open("rb") as file:
            is_pointer = file.read(len(_LFS)) == _LFS
    except OSError:  # missing or unreadable: the reader of the file reports it
        return None
    if is_pointer:
        return "is a Git LFS pointer and not the file itself; git lfs pull there, or hf download the repository again"
    return None


def first_stand_in(paths: Iterable[Path]) -> str | None:
    """The first of these files without its content, with what it is; None where there is none."""
    return next((f"{path}: {found}" for path in paths if (found := stand_in(path)) is not None), None)
