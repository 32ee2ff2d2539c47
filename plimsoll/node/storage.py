"""Finds the folder where weights land, and its free space.

The folder follows the rules of huggingface_hub without importing it. It need not exist yet, so the nearest existing
parent is measured.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from plimsoll.node.node import Disk, Unread
from plimsoll.userpath import path_for_others, resolved


def hub_cache() -> Path:
    """The folder where huggingface_hub keeps checkpoints in the current environment."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hf_home = os.environ.get("HF_HOME") or f"{home}/huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{hf_home}/hub"
    return path_for_others(cache).absolute()


def read_disk(path: Path) -> tuple[Disk, tuple[Unread, ...]]:
    """The file system that would hold `path`, in bytes that this user may use.

    Raises OSError where not even the file system's root can be measured.
    """
    existing = _nearest_existing(path)
    usage = psutil.disk_usage(str(existing))
    filesystem = _filesystem(existing)
    unread = (
        ()
        if filesystem is not None
        else (Unread(what="disk.filesystem", why=f"no mount that the system lists holds {existing}"),)
    )
    return Disk(path=str(path), filesystem=filesystem, total=usage.total, free=usage.free), unread


def free_space(path: Path) -> int:
    """The bytes that this user may still write to `path`. Raises OSError where they cannot be read."""
    return int(psutil.disk_usage(str(_nearest_existing(path))).free)


def _nearest_existing(path: Path) -> Path:
    for candidate in (path, *path.parents):
        try:
            if candidate.exists():
                return candidate
        except OSError:  # not ours to look at, or a name that no file system takes
            continue
    return Path(path.anchor)


def _filesystem(path: Path) -> str | None:
    """The type of the mount with the longest mount point above `path`; the last one mounted there hides the others."""
    whole = resolved(path)
    best: tuple[int, str] | None = None
    for partition in psutil.disk_partitions(all=True):
        depth = len(Path(partition.mountpoint).parts)
        if whole.is_relative_to(partition.mountpoint) and (best is None or depth >= best[0]):
            best = (depth, partition.fstype)
    return None if best is None else best[1] or None
