"""What a control group leaves of the machine's memory.

In a container `/proc/meminfo` still shows the whole machine, and a load that fits the machine but not the container
ends with the OOM killer; so the limit of every group from ours up to the mount is read, in both versions of control
groups, and the tightest one counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemory:
    """The tightest memory limit above a process, in bytes. `available` is the least that any of its groups has left;
    the inactive part of the page cache counts as available, because the kernel drops it before it kills."""

    limit: int
    available: int


@dataclass(frozen=True, slots=True)
class _Files:
    """What one version of control groups calls the files."""

    limit: str
    usage: str
    reclaimable: str
    """The key of `memory.stat` that counts inactive page cache, children included."""


_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("memory.max", "memory.current", "inactive_file")


def group_memory(physical: int, root: Path = Path("/")) -> GroupMemory | None:
    """The limit that holds for this process, or None where none is set below `physical` bytes of RAM.

    `root` is prefixed to every path, so that a recorded machine can be read. Raises OSError or ValueError where the
    files of the kernel cannot be read or understood.
    """
    located = _locate(root)
    if located is None:
        return None
    mount, group, files = located
    readings = [_read(folder, files) for folder in _upwards(mount, group)]
    bounded = [r for r in readings if r is not None and r.limit < physical]
    if not bounded:
        return None
    return GroupMemory(limit=min(r.limit for r in bounded), available=min(r.available for r in bounded))


def _locate(root: Path) -> tuple[Path, Path, _Files] | None:
    """The mount of the memory controller, our own group's folder under it, and the files' names."""
    membership = root / "proc/self/cgroup"
    if not membership.exists():
        return None
    groups = {}
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    version, files = ("cgroup", _V1) if "memory" in groups else ("cgroup2", _V2)
    group = groups.get("memory", groups.get(""))
    if group is None:
        return None
    for mount_root, mount_point, kind, options in _mounts(root):
        if kind == version and (version == "cgroup2" or "memory" in options):
            mount = root / mount_point.lstrip("/")
            return mount, mount / _below(group, mount_root), files
    return None


def _mounts(root: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    """(root within the file system, mount point, type, super options) of each mount."""
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        _, _, _, mount_root, mount_point, *_ = before.split(" ")
        yield mount_root, mount_point, kind, options.split(",")


def _below(group: str, mount_root: str) -> str:
    """Where a group lies under a mount. A container often sees its own group mounted as if it were the top, while the
    membership still names the path outside: then the mount itself is our group."""
    if mount_root == "/":
        return "" if group.startswith("/..") else group.lstrip("/")
    inside = group == mount_root or group.startswith(mount_root + "/")
    return group[len(mount_root) :].lstrip("/") if inside else ""


def _upwards(mount: Path, group: Path) -> Iterator[Path]:
    """The group's folder and its ancestors up to the mount."""
    folder = group if group.is_dir() else mount
    while True:
        yield folder
        if folder == mount:
            return
        folder = folder.parent


def _read(folder: Path, files: _Files) -> GroupMemory | None:
    """One group's own limit, or None where it sets none; the top group of version 2 has no such files."""
    limit_file = folder / files.limit
    if not limit_file.exists() or (text := limit_file.read_text().strip()) == "max":
        return None
    limit, usage = int(text), int((folder / files.usage).read_text())
    reclaimable = 0
    for line in (folder / "memory.stat").read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == files.reclaimable:
            reclaimable = int(value)
    return GroupMemory(limit=limit, available=max(0, limit - usage + reclaimable))
