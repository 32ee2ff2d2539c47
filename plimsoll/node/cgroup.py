"""Reads the control group's limits on memory and processor time.

In a container `/proc/meminfo` still shows the whole machine, and a load that fits the machine but not the container
ends with the OOM killer; likewise a container with a quota of one CPU may run on all CPUs, a little at a time. So the
limits of every group from ours up to the mount are read, in both versions of control groups, and the tightest counts.
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
    """The file names of one version of control groups."""

    limit: str
    usage: str
    reclaimable: str
    """The key of `memory.stat` that counts inactive page cache, children included."""


_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("memory.max", "memory.current", "inactive_file")


def group_memory(physical: int, root: Path = Path("/")) -> GroupMemory | None:
    """The limit on this process, or None where none is below `physical` bytes of RAM.

    `root` is prefixed to every path, so that a recorded machine can be read. Raises OSError or ValueError where the
    files of the kernel cannot be read or understood.
    """
    located = _locate(root, "memory")
    if located is None:
        return None
    mount, group, version = located
    files = _V2 if version == "cgroup2" else _V1
    readings = [_read(folder, files) for folder in _upwards(mount, group)]
    bounded = [r for r in readings if r is not None and r.limit < physical]
    if not bounded:
        return None
    return GroupMemory(limit=min(r.limit for r in bounded), available=min(r.available for r in bounded))


def group_kills(root: Path = Path("/")) -> int | None:
    """How many processes of this group the kernel has killed so far for lack of memory; None where nothing counts them,
    as in the top group, or the files cannot be read."""
    try:
        located = _locate(root, "memory")
        if located is None:
            return None
        mount, group, version = located
        folder = group if group.is_dir() else mount
        file = folder / ("memory.events" if version == "cgroup2" else "memory.oom_control")
        counts = dict(line.split(" ", 1) for line in file.read_text().splitlines())
        return int(counts["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many CPUs' worth of time the control group grants this process; None where it sets no quota.

    `root` is prefixed to every path. Raises OSError or ValueError where the files of the kernel cannot be read or
    understood.
    """
    located = _locate(root, "cpu")
    if located is None:
        return None
    mount, group, version = located
    read = _cpu_max if version == "cgroup2" else _cfs_quota
    return min((quota for folder in _upwards(mount, group) if (quota := read(folder)) is not None), default=None)


def _cpu_max(folder: Path) -> float | None:
    """`max 100000`, or the microseconds of each period that a group may run; the top group has no such file."""
    file = folder / "cpu.max"
    if not file.exists():
        return None
    quota, period = file.read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _cfs_quota(folder: Path) -> float | None:
    file = folder / "cpu.cfs_quota_us"
    if not file.exists() or (quota := int(file.read_text())) < 0:
        return None
    return quota / int((folder / "cpu.cfs_period_us").read_text())


def _locate(root: Path, controller: str) -> tuple[Path, Path, str] | None:
    """The mount of a controller, our own group's folder under it, and the version: `cgroup` or `cgroup2`."""
    membership = root / "proc/self/cgroup"
    if not membership.exists():
        return None
    groups = {}
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    version = "cgroup" if controller in groups else "cgroup2"
    group = groups.get(controller, groups.get(""))
    if group is None:
        return None
    for mount_root, mount_point, kind, options in _mounts(root):
        if kind == version and (version == "cgroup2" or controller in options):
            mount = root / mount_point.lstrip("/")
            return mount, mount / _below(group, mount_root), version
    return None


def _mounts(root: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    """(root within the file system, mount point, type, super options) of each mount."""
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        _, _, _, mount_root, mount_point, *_ = before.split(" ")
        yield mount_root, mount_point, kind, options.split(",")


def _below(group: str, mount_root: str) -> str:
    """Where a group lies under a mount. A container often sees its own group mounted as the top, while the membership
    still names the path outside: then the mount itself is our group."""
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
