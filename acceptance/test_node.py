"""Does the node have a complete software stack, and room for what will be loaded?"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.plan import DiskRoom
from fixtures.tenants import accept
from plimsoll.catalogue.entries import Tier
from plimsoll.gate.need import Need
from plimsoll.node.devices import Device
from plimsoll.node.driver import missing_gpus, step_for
from plimsoll.node.node import Node
from plimsoll.node.stack import check_stack
from plimsoll.node.tenants import Tenants

pytestmark = pytest.mark.node


def test_stack(tier: Tier, node: Node, expected_gpus: int | None) -> None:  # noqa: ARG001  a tier's stack is the node's
    """Every package that loading needs is installed, in a version that the suite supports, and with --expect-gpus the
    node has that many GPUs: one that has fallen off the bus leaves no other trace."""
    faults = check_stack(node)
    assert not faults, "\n".join(str(fault) for fault in faults)
    if expected_gpus is not None:
        assert len(node.gpus) == expected_gpus, missing_gpus(node, expected_gpus)


@pytest.mark.only("gpu")
def test_gpus_answer(tier: Tier, node: Node) -> None:  # noqa: ARG001  GPUs are the node's
    """Every GPU that the driver lists answers: one that is lost is out of service, whatever the others carry."""
    lost = [f"GPU {gpu.index} is lost: {gpu.lost}; fix: {step_for(node, gpu)}" for gpu in node.gpus if gpu.lost]
    assert not lost, "\n".join(lost)


@pytest.mark.only("gpu")
def test_tenants(device: Device, tenants: Tenants, judge: Judge, request: pytest.FixtureRequest) -> None:
    """Nobody else uses the GPU; with --tenants=warn it is said who does, for figures are measured beside them."""
    accept(tenants, device, judge, request.config)


@pytest.mark.measures("free_ram")
def test_free_ram(need: Need, node: Node, judge: Judge) -> None:
    """The memory that was available before anything loaded holds what the variant is predicted to need."""
    judge.limit("free_ram", node.memory.available, low=need.ram, source="predicted from the configuration")


@pytest.mark.only("files")
@pytest.mark.measures("free_disk")
def test_free_disk(disk_room: DiskRoom, judge: Judge) -> None:
    """The disk where weights land holds what is to be brought there."""
    judge.limit("free_disk", disk_room.free, low=disk_room.need, source=disk_room.source)
