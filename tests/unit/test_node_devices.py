"""The devices of a run, on recorded nodes: which there are, how hosts are told theirs, and what the gate then sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.node.devices import CPU_DEVICE, NO_GPU, NO_GPUS, Devices, seen_by, usable_gpus, visibility
from plimsoll.node.node import MigInstance, Node, Unread
from plimsoll.node.probe import RecordedProbe
from plimsoll.node.visible import Hidden, visible_gpus
from tests.support.gate_subjects import GB, RECORDED, with_environment, with_gpu

PARTS = tuple(
    MigInstance(uuid=f"MIG-{number}", name="MIG 3g.40gb", memory_total=42 * GB, memory_free=40 * GB)
    for number in range(2)
)


@pytest.fixture
def h100() -> Node:
    return RecordedProbe(RECORDED / "synthetic-8xh100-80g.json").probe()


def ids(node: Node, **environment: str) -> list[str]:
    return [device.id for device in Devices.of(with_environment(node, **environment)).gpus]


def hidden(node: Node) -> Hidden:
    found = usable_gpus(node)
    assert isinstance(found, Hidden)
    return found


def unlike(node: Node) -> Node:
    return with_gpu(node, 3, name="NVIDIA T4", memory_total=16 * GB)


def test_every_gpu_of_a_node_is_a_device_with_what_evidence_says_of_it(h100: Node) -> None:
    assert ids(h100) == [f"gpu{n}" for n in range(8)]
    device, gpu = Devices.of(h100).gpus[3], h100.gpus[3]
    assert device.to_json() == {
        "id": "gpu3",
        "index": 3,
        "uuid": gpu.uuid,
        "serial": gpu.serial,
        "name": "NVIDIA H100 80GB HBM3",
    }
    assert (device.kind, device.place, device.memory) == ("cuda", "cuda:0", gpu.memory_total)


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ("5,2", ["gpu5", "gpu2"]),
        ("2,99,5", ["gpu2"]),
        ("2,2", []),
        ("", []),
        ("{3},1", ["gpu3", "gpu1"]),
    ],
)
def test_the_environment_leaves_gpus_to_the_run_as_cuda_reads_it(h100: Node, named: str, wanted: list[str]) -> None:
    assert ids(h100, CUDA_VISIBLE_DEVICES=named.format(*(gpu.uuid for gpu in h100.gpus))) == wanted


def test_unlike_gpus_are_all_used_and_numbers_alone_are_in_doubt(h100: Node) -> None:
    """Each host is told its GPU by UUID, so that the order in which CUDA would number them is nobody's concern."""
    assert ids(unlike(h100)) == [f"gpu{n}" for n in range(8)]
    assert ids(unlike(h100), CUDA_VISIBLE_DEVICES="3") == []
    assert hidden(with_environment(unlike(h100), CUDA_VISIBLE_DEVICES="3")).fix == (
        "export CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )
    assert ids(unlike(h100), CUDA_VISIBLE_DEVICES="3", CUDA_DEVICE_ORDER="PCI_BUS_ID") == ["gpu3"]


def test_gpus_that_are_lost_or_not_ours_are_no_devices_and_hide_no_other(h100: Node) -> None:
    gone = dict.fromkeys(("name", "uuid", "serial", "memory_total", "memory_free", "compute_capability"))
    node = with_gpu(with_gpu(h100, 2, **gone, lost="NVML says: GPU is lost"), 5, **gone)
    node = replace(
        node,
        unread=(
            Unread(what="gpus[2]", why="NVML says: GPU is lost", code=15),
            Unread(what="gpus[5]", why="NVML says: no permission", code=4),
        ),
    )
    assert ids(node) == ["gpu0", "gpu1", "gpu3", "gpu4", "gpu6", "gpu7"]
    all_lost = replace(h100, gpus=tuple(replace(gpu, lost="NVML says: GPU is lost") for gpu in h100.gpus))
    assert hidden(all_lost).why == "GPU 0 is lost: NVML says: GPU is lost"


def test_every_instance_of_a_split_gpu_is_a_device_beside_the_whole_ones(h100: Node) -> None:
    node = with_gpu(h100, 0, mig=True, instances=PARTS)
    assert ids(node) == ["gpu0.0", "gpu0.1", *(f"gpu{n}" for n in range(1, 8))]
    first = Devices.of(node).gpus[0]
    assert (first.uuid, first.memory, first.serial) == ("MIG-0", 42 * GB, h100.gpus[0].serial)
    assert ids(node, CUDA_VISIBLE_DEVICES="MIG-1,MIG-0") == ["gpu0.1", "gpu0.0"]
    assert ids(node, CUDA_VISIBLE_DEVICES=f"MIG-1,{h100.gpus[4].uuid}") == ["gpu0.1", "gpu4"]
    assert ids(node, CUDA_VISIBLE_DEVICES="MIG-") == []
    for names, why in (
        ("MIG-", ": MIG- is the beginning of 2 UUIDs"),
        ("MIG-1,MIG-1", ": MIG-1 is given twice"),
    ):
        told = hidden(with_environment(node, CUDA_VISIBLE_DEVICES=names))
        assert f"CUDA_VISIBLE_DEVICES={names!r} names none of the node's 8 GPUs{why}" in told.why
        assert told.fix == "export CUDA_VISIBLE_DEVICES=MIG-0, or another of: MIG-1"


def test_a_split_gpu_whose_instances_cannot_be_seen_is_not_to_be_put_together_again(h100: Node) -> None:
    node = replace(h100, gpus=(replace(h100.gpus[0], mig=True),))
    assert hidden(node).why == "GPU 0 is split (MIG), and shows this process none of its instances"
    assert hidden(node).fix.startswith("name an instance that nvidia-smi -L lists in CUDA_VISIBLE_DEVICES")


def test_a_host_that_was_given_gpus_sees_them_alone(h100: Node) -> None:
    node = with_gpu(unlike(h100), 0, mig=True, instances=PARTS)
    for device in Devices.of(node).gpus:
        seen = visible_gpus(seen_by(node, (device,)))
        assert not isinstance(seen, Hidden)
        assert [(gpu.uuid, gpu.memory_total) for gpu in seen] == [(device.uuid, device.memory)]
    pair = Devices.of(node).gpus[3:5]
    both = visible_gpus(seen_by(node, pair))
    assert not isinstance(both, Hidden)
    assert [gpu.uuid for gpu in both] == [device.uuid for device in pair]


def test_a_gpu_without_a_uuid_is_named_by_its_place_on_the_bus(h100: Node) -> None:
    node = with_gpu(h100, 6, uuid=None)
    (device,) = Devices.of(with_environment(node, CUDA_VISIBLE_DEVICES="6")).gpus
    assert visibility((device,)) == {"CUDA_VISIBLE_DEVICES": "6", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    seen = visible_gpus(seen_by(node, (device,)))
    assert not isinstance(seen, Hidden)
    assert [gpu.index for gpu in seen] == [6]


def test_a_device_stands_for_the_gpus_that_are_not_there(h100: Node) -> None:
    assert Devices.of(replace(h100, gpus=())) == NO_GPUS
    assert NO_GPUS.of_kind("cuda") == (NO_GPU,)
    assert NO_GPUS.of_kind("cpu") == (CPU_DEVICE,)
    assert (NO_GPU.id, NO_GPU.is_there, visibility((NO_GPU,)), visibility((CPU_DEVICE,))) == ("gpu0", False, {}, {})
    assert seen_by(h100, (CPU_DEVICE,)) == h100
