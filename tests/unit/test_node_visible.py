"""Which GPUs CUDA sees, by the variables that hide and number them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.node.devices import usable_gpus
from plimsoll.node.node import MigInstance, Node, Unread
from plimsoll.node.probe import RecordedProbe
from plimsoll.node.visible import Hidden, visible_gpus
from tests.support.gate_subjects import RECORDED, with_environment, with_gpu


@pytest.fixture
def h100() -> Node:
    return RecordedProbe(RECORDED / "synthetic-8xh100-80g.json").probe()


@pytest.fixture
def rtx4090() -> Node:
    return RecordedProbe(RECORDED / "synthetic-rtx4090-24g.json").probe()


def seen(node: Node, **variables: str) -> list[int] | str:
    found = visible_gpus(with_environment(node, **variables))
    return [gpu.index for gpu in found] if isinstance(found, tuple) else found.why


@pytest.mark.parametrize(
    ("value", "indices"),
    [
        ("3,1", [3, 1]),
        (" 2 , 0", [2, 0]),
        ("0,9,1", [0]),
        ("0,-1,1", [0]),
        ("GPU-00000000-0000-0000-0000-000000000005,1", [5, 1]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(h100: Node, value: str, indices: list[int]) -> None:
    assert seen(h100, CUDA_VISIBLE_DEVICES=value) == indices


TWICE = ", and CUDA shows none at all where one is named twice"
FIFTH = "GPU-00000000-0000-0000-0000-000000000005"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        *((value, "") for value in ("", "-1", "8", "none", "MIG-0")),
        ("1,1", f": 1 is given twice{TWICE}"),
        (f"0,5,{FIFTH}", f": 5 and {FIFTH} are the same{TWICE}"),
        ("GPU-0", ": GPU-0 is the beginning of 8 UUIDs, and CUDA takes it for none of them"),
    ],
)
def test_names_that_fit_no_gpu_hide_all_and_are_told_why(h100: Node, value: str, why: str) -> None:
    told = f"CUDA_VISIBLE_DEVICES={value!r} names none of the node's 8 GPUs{why}"
    run_sees = usable_gpus(with_environment(h100, CUDA_VISIBLE_DEVICES=value))
    assert isinstance(run_sees, Hidden)
    assert run_sees.why == told
    if not value.startswith("MIG-"):
        assert seen(h100, CUDA_VISIBLE_DEVICES=value) == told


def test_unlike_gpus_are_numbered_by_speed_unless_told(h100: Node) -> None:
    mixed = with_gpu(h100, 7, name="NVIDIA A2")
    why = "CUDA numbers unlike GPUs by speed (NVIDIA A2, NVIDIA H100 80GB HBM3), so it is not known which one is cuda:0"
    assert seen(mixed) == seen(mixed, CUDA_VISIBLE_DEVICES="7") == why
    assert seen(mixed, CUDA_VISIBLE_DEVICES="7", CUDA_DEVICE_ORDER="PCI_BUS_ID") == [7]
    assert seen(mixed, CUDA_VISIBLE_DEVICES="GPU-00000000-0000-0000-0000-000000000007") == [7]


def test_a_lost_gpu_makes_the_numbers_doubtful(h100: Node) -> None:
    lost = replace(
        with_gpu(h100, 2, name=None, uuid=None), unread=(Unread(what="gpus[2]", why="NVML says: GPU is lost"),)
    )
    assert seen(lost) == ("GPU 2 does not answer (NVML says: GPU is lost), so CUDA's numbers are not known")


def hidden(node: Node, **variables: str) -> Hidden:
    found = visible_gpus(with_environment(node, **variables))
    assert isinstance(found, Hidden)
    return found


def without_gpus(node: Node, code: int | None) -> Node:
    return replace(node, gpus=(), unread=() if code is None else (Unread(what="gpus", why="NVML says so", code=code),))


INSTALL = "install the NVIDIA driver"


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (4, "let this user read and write /dev/nvidia*"),
        (9, "modprobe nvidia"),
        (12, INSTALL),
        (13, "update the NVIDIA driver"),
        (15, "take the node out of service and reboot it"),
        (16, "end what uses the GPU and reset it"),
        (18, "reboot the node, or unload the nvidia kernel modules"),
        (999, "in a container: start it anew"),
    ],
)
def test_each_fault_of_the_driver_has_a_step_of_its_own(h100: Node, code: int, step: str) -> None:
    fix = hidden(without_gpus(h100, code)).fix
    assert fix.startswith(step)
    assert (INSTALL in fix) is (code == 12)


@pytest.mark.parametrize("code", [None, 4, 9, 12])
@pytest.mark.parametrize("granted", [{}, {"SLURM_GPUS_ON_NODE": "0"}, {"SLURM_JOB_GPUS": ""}])
def test_a_slurm_job_without_a_gpu_asks_slurm_for_one(h100: Node, code: int | None, granted: dict[str, str]) -> None:
    found = hidden(without_gpus(h100, code), SLURM_JOB_ID="7", **granted)
    assert found.fix == "ask Slurm for a GPU: --gpus-per-node=1 with sbatch, salloc or srun"


@pytest.mark.parametrize("variables", [{"SLURM_GPUS_ON_NODE": "2"}, {"SLURM_JOB_GPUS": "0"}, {"SLURM_STEP_GPUS": "0"}])
def test_in_a_slurm_job_with_gpus_the_driver_is_at_fault(h100: Node, variables: dict[str, str]) -> None:
    assert hidden(without_gpus(h100, 18), SLURM_JOB_ID="7", **variables).fix.startswith("reboot the node")


def test_slurm_hides_gpus_by_naming_none(h100: Node) -> None:
    assert "--gpus-per-node" in hidden(h100, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="").fix
    assert hidden(h100, CUDA_VISIBLE_DEVICES="").fix.startswith("unset CUDA_VISIBLE_DEVICES, or name one of: 0 or GPU-")


@pytest.mark.parametrize("devices", ["void", "none"])
def test_a_container_that_was_given_no_gpus_says_so(h100: Node, devices: str) -> None:
    assert hidden(without_gpus(h100, 12), NVIDIA_VISIBLE_DEVICES=devices).fix == (
        "give the container its GPUs: NVIDIA_VISIBLE_DEVICES is set so that it has none (--gpus all sets it)"
    )


def test_a_mismatch_inside_a_job_or_container_is_still_one(h100: Node) -> None:
    """The driver answers, and says that it does not fit: nobody has hidden it."""
    node = without_gpus(h100, 18)
    assert hidden(node, SLURM_JOB_ID="7").fix.startswith("reboot the node")
    assert hidden(node, NVIDIA_VISIBLE_DEVICES="void").fix.startswith("reboot the node")


def test_a_split_gpu_is_named_by_its_instances(h100: Node) -> None:
    parts = tuple(MigInstance(uuid=f"MIG-{n}", name=None, memory_total=1, memory_free=1) for n in range(2))
    node = with_gpu(h100, 0, mig=True, instances=parts)
    why = "GPU 0 is split (MIG), and CUDA_VISIBLE_DEVICES names no instance"
    assert hidden(node) == Hidden(why=why, fix="export CUDA_VISIBLE_DEVICES=MIG-0, or another of: MIG-1")
    named = visible_gpus(with_environment(node, CUDA_VISIBLE_DEVICES="MIG-1,MIG-0"))
    assert isinstance(named, tuple)
    assert [(gpu.index, gpu.uuid, gpu.mig) for gpu in named] == [(0, "MIG-1", False)]
    assert hidden(node, CUDA_VISIBLE_DEVICES="MIG-").why == "CUDA_VISIBLE_DEVICES='MIG-' names more than one instance"
    assert hidden(node, CUDA_VISIBLE_DEVICES="MIG-7").why == (
        "CUDA_VISIBLE_DEVICES='MIG-7' names an instance (MIG) that NVML does not show to this process"
    )
