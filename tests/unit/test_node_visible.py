"""Which GPUs CUDA sees, by the variables that hide and number them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.node.node import Node, Unread
from plimsoll.node.probe import RecordedProbe
from plimsoll.node.visible import visible_gpus
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


@pytest.mark.parametrize("value", ["", "-1", "8", "1,1", "GPU-0", "MIG-5", "none"])
def test_names_that_fit_no_gpu_hide_all(h100: Node, value: str) -> None:
    assert seen(h100, CUDA_VISIBLE_DEVICES=value) == f"CUDA_VISIBLE_DEVICES={value!r} names none of the node's 8 GPUs"


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
