"""Recognises files that stand for others that are not here: Git LFS pointers, and links that lead nowhere.

A clone without git-lfs holds a hundred bytes of text in place of each large file, and a snapshot of the Hub that was
copied without its blobs holds links alone. Both look whole in a listing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LFS: Final = b"version https://git-lfs.github.com/spec/"
_LFS_MOST: Final = 1024
"""Bytes; the specification keeps a pointer below that."""


def stand_in(path: Path) -> str | None:
    """What a file is in place of its content, with the next step; None for one that is what its name says, or is not
    there at all."""
    if path.is_symlink() and not path.exists():
        target = str(path.readlink())
        return (
            f"is a link to {target[:200]}, which is not here; copy the folder again with its files (cp -rL, rsync -L)"
        )
    try:
        if path.stat().st_size > _LFS_MOST:
            return None
        with path.open("rb") as file:
            is_pointer = file.read(len(_LFS)) == _LFS
    except OSError:  # not there, or not ours to read: whoever needs it says so
        return None
    if is_pointer:
        return "is a Git LFS pointer and not the file itself; git lfs pull there, or hf download the repository again"
    return None


def first_stand_in(paths: Iterable[Path]) -> str | None:
    """The first of these files that stands for another one, with what it is; None where none does."""
    return next((f"{path}: {found}" for path in paths if (found := stand_in(path)) is not None), None)
