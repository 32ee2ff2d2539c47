"""The probe of this machine, control groups from recorded kernel files, and nodes read back from a file."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.node.cgroup import GroupMemory, cpu_quota, group_memory
from plimsoll.node.probe import RecordedProbe, SystemProbe
from plimsoll.node.processor import read_cpu
from plimsoll.node.storage import free_space, read_disk

RECORDED = Path(__file__).parents[1] / "support/recorded"
GB = 10**9


def test_this_machine_is_told_as_the_system_tells_it(tmp_path: Path) -> None:
    node = SystemProbe(weights_path=tmp_path / "not" / "there" / "yet").probe()
    assert node.hostname == os.uname().nodename
    assert node.kernel == os.uname().release
    assert node.python == ".".join(map(str, sys.version_info[:3]))
    allowed = len(os.sched_getaffinity(0))
    assert node.cpu.logical_cores == (allowed if node.cpu.quota is None else max(1, math.ceil(node.cpu.quota)))
    assert 0 < node.memory.available <= node.memory.total <= psutil.virtual_memory().total
    assert node.disk.path == str(tmp_path / "not" / "there" / "yet")
    assert node.disk.total == psutil.disk_usage(str(tmp_path)).total
    assert node.packages["psutil"] == psutil.__version__


def test_a_processor_without_a_name_is_unread(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "proc/cpuinfo"
    cpuinfo.parent.mkdir()
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd sve i8mm bf16 odd\n\nprocessor\t: 1\nFeatures\t: fp\n")
    cpu, unread = read_cpu(tmp_path)
    assert (cpu.model, cpu.features) == (None, ("asimd", "bf16", "i8mm", "sve"))
    assert [entry.what for entry in unread if entry.what == "cpu.model"] == ["cpu.model"]


def kernel_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def version_2(limit: str, usage: int, inactive: int) -> dict[str, str]:
    return {
        "memory.max": f"{limit}\n",
        "memory.current": f"{usage}\n",
        "memory.stat": f"anon 5\ninactive_file {inactive}\n",
    }


def under(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


V2_MOUNT = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_the_tightest_group_above_us_counts(tmp_path: Path) -> None:
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/step\n",
            "proc/self/mountinfo": "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + V2_MOUNT,
            **under("sys/fs/cgroup/job", version_2(str(20 * GB), 12 * GB, 2 * GB)),
            **under("sys/fs/cgroup/job/step", version_2(str(30 * GB), 1 * GB, 0)),
        },
    )
    assert group_memory(64 * GB, root) == GroupMemory(limit=20 * GB, available=10 * GB)


def test_no_limit_and_a_limit_above_the_machine_are_none(tmp_path: Path) -> None:
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/step\n",
            "proc/self/mountinfo": V2_MOUNT,
            **under("sys/fs/cgroup/job", version_2("max", 12 * GB, 0)),
            **under("sys/fs/cgroup/job/step", version_2(str(80 * GB), 1 * GB, 0)),
        },
    )
    assert group_memory(64 * GB, root) is None


def test_a_container_whose_own_group_is_mounted_as_the_top(tmp_path: Path) -> None:
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
            "proc/self/mountinfo": (
                "30 23 0:27 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
                "31 23 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
            ),
            **under(
                "sys/fs/cgroup/memory",
                {
                    "memory.limit_in_bytes": f"{8 * GB}\n",
                    "memory.usage_in_bytes": f"{3 * GB}\n",
                    "memory.stat": f"inactive_file 7\ntotal_inactive_file {1 * GB}\n",
                },
            ),
        },
    )
    assert group_memory(64 * GB, root) == GroupMemory(limit=8 * GB, available=6 * GB)


def test_a_machine_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert group_memory(64 * GB, tmp_path) is None
    assert cpu_quota(tmp_path) is None


CPU_V1 = {
    "proc/self/cgroup": "5:memory:/\n3:cpu,cpuacct:/job\n",
    "proc/self/mountinfo": "30 23 0:27 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "50000\n",
}
CPU_V2 = {"proc/self/cgroup": "0::/pod/box\n", "proc/self/mountinfo": V2_MOUNT}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({**CPU_V2, "sys/fs/cgroup/pod/cpu.max": "max 100000\n"}, None),
        ({**CPU_V2, "sys/fs/cgroup/pod/box/cpu.max": "50000 100000\n"}, 0.5),
        (
            {**CPU_V2, "sys/fs/cgroup/pod/cpu.max": "150000 100000\n", "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n"},
            1.5,
        ),
        ({**CPU_V1, "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1\n"}, None),
        ({**CPU_V1, "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "25000\n"}, 0.5),
    ],
)
def test_the_quota_of_processor_time_is_read_in_both_versions(
    files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    root = kernel_files(tmp_path, files)
    assert cpu_quota(root) == quota
    if quota is not None and quota <= 1:
        cpu, _ = read_cpu(root)
        assert (cpu.quota, cpu.logical_cores) == (quota, 1)


def test_a_quota_of_all_cores_is_none(tmp_path: Path) -> None:
    root = kernel_files(tmp_path, {**CPU_V2, "sys/fs/cgroup/pod/box/cpu.max": "102400000 100000\n"})
    cpu, unread = read_cpu(root)
    assert cpu.quota is None
    assert not [entry for entry in unread if entry.what == "cpu.quota"]


def test_a_quota_that_cannot_be_understood_is_said(tmp_path: Path) -> None:
    root = kernel_files(tmp_path, {**CPU_V2, "sys/fs/cgroup/pod/box/cpu.max": "many\n"})
    cpu, unread = read_cpu(root)
    assert cpu.quota is None
    assert [entry.what for entry in unread if entry.what.endswith("quota")] == ["cpu.quota"]


def test_a_group_that_cannot_be_understood_is_an_error_and_not_no_limit(tmp_path: Path) -> None:
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": V2_MOUNT,
            **under("sys/fs/cgroup", {**version_2("12 apples", 1, 1)}),
        },
    )
    with pytest.raises(ValueError, match="12 apples"):
        group_memory(64 * GB, root)


@pytest.mark.parametrize(
    "path", ["/proc/self/" + "x" * 300, "/proc/self/" + "y/" * 3000, "/proc/self/stat/not/a/folder"]
)
def test_a_folder_that_no_file_system_takes_has_the_room_of_the_nearest_that_is_there(path: str) -> None:
    assert read_disk(Path(path))[0].filesystem == "proc"


def test_the_mount_of_the_disk_is_named() -> None:
    disk, unread = read_disk(Path("/proc/self"))
    assert (disk.filesystem, unread) == ("proc", ())


@pytest.mark.parametrize("name", ["synthetic-8xh100-80g", "synthetic-rtx4090-24g"])
def test_a_recorded_node_is_read_back_unchanged(name: str, tmp_path: Path) -> None:
    path = RECORDED / f"{name}.json"
    node = RecordedProbe(path).probe()
    assert node.hostname == name
    whole = json.loads(json.dumps(node.to_json()))
    kept = tmp_path / "node.json"
    kept.write_text(json.dumps(whole))
    assert RecordedProbe(kept).probe() == node
    # The record is of an earlier release: what it says stands, and what it could not say is not known.
    known = json.loads(path.read_text())
    assert _without_new_facts(whole) == known


_LATER_GPU_FACTS = ("instances", "unified", "lost")


def _without_new_facts(node: dict[str, Any]) -> dict[str, Any]:
    assert (node.pop("torch_cuda"), node["cpu"].pop("quota")) == (None, None)
    for gpu in node["gpus"]:
        assert [gpu.pop(name) for name in _LATER_GPU_FACTS] == [[], False, None]
    for entry in node["unread"]:
        assert entry.pop("code") is None
    return node


def spoiled(change: dict[str, Any]) -> str:
    return json.dumps({**json.loads((RECORDED / "synthetic-rtx4090-24g.json").read_text()), **change})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            spoiled({"memory": {"total": "many", "available": 1, "limit": None}}),
            "memory.total: Input should be a valid integer",
        ),
        (spoiled({"gpus": [{"index": 0}]}), "gpus[0].memory_free: Field required"),
        (spoiled({"colour": "blue"}), "unexpected keyword argument 'colour'"),
        ("{", "file: Invalid JSON"),
        ("[]", "file: "),
    ],
    ids=["type", "missing", "unknown", "not json", "not an object"],
)
def test_a_file_that_holds_no_node_is_one_message(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    path.write_text(text)
    with pytest.raises(PlimsollError) as raised:
        RecordedProbe(path).probe()
    assert str(raised.value).startswith(f"{path}: not a recorded node (write one with `plimsoll probe --json`):\n  ")
    assert fault in str(raised.value)


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match=r"node\.json: cannot read the recorded node: No such file or directory$"):
        RecordedProbe(tmp_path / "node.json").probe()


def test_free_space_is_that_of_the_disk_where_a_folder_would_lie(tmp_path: Path) -> None:
    assert free_space(tmp_path / "not" / "there") == pytest.approx(read_disk(tmp_path)[0].free, rel=0.2)
    assert free_space(Path("/proc/self/not-there")) == 0
