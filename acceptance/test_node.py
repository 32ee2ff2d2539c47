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
    """Every package that loading needs is installed in a version that the suite supports. With --expect-gpus the node
    has that many GPUs: one that has fallen off the bus leaves no other trace.

    Limit: The version ranges of pyproject.toml, and the number of --expect-gpus.
    Fails when: a package is missing or of another version, or the number of GPUs differs.
    Do: Run the command that the failure names. A GPU that is missing: look with `nvidia-smi` and `dmesg`, then reboot
    or ask for repair.
    Symptoms: missing-package, too-old, no-gpu
    """
    faults = check_stack(node)
    assert not faults, "\n".join(str(fault) for fault in faults)
    if expected_gpus is not None:
        assert len(node.gpus) == expected_gpus, missing_gpus(node, expected_gpus)


@pytest.mark.only("gpu")
def test_gpus_answer(tier: Tier, node: Node) -> None:  # noqa: ARG001  GPUs are the node's
    """Every GPU that the driver lists answers. A GPU that is lost is out of service, whatever the others carry.

    Limit: All of them: the suite's own rule.
    Fails when: the driver lists a GPU that gives no answer.
    Do: Take the node out of service and reboot it. A GPU that is lost again needs repair.
    Symptoms: gpu-broken
    """
    lost = [f"GPU {gpu.index} is lost: {gpu.lost}; fix: {step_for(node, gpu)}" for gpu in node.gpus if gpu.lost]
    assert not lost, "\n".join(lost)


@pytest.mark.only("gpu")
def test_tenants(device: Device, tenants: Tenants, judge: Judge, request: pytest.FixtureRequest) -> None:
    """Nobody else uses the GPU. With --tenants=warn, the default, the run names who does, since its figures are
    measured beside them.

    Limit: No other process with `--tenants=fail` or `wait`; with `warn` others are recorded (docs/gpu-health.md).
    Fails when: another process uses the GPU and --tenants=fail is given, or --tenants=wait and it is still there
    after ten minutes.
    Do: End the process that the failure names, or give the suite another GPU (CUDA_VISIBLE_DEVICES).
    Symptoms: counter
    """
    accept(tenants, device, judge, request.config)


@pytest.mark.measures("free_ram")
def test_free_ram(need: Need, node: Node, judge: Judge) -> None:
    """The memory that was available before anything loaded holds what the variant is predicted to need.

    Limit: At least the prediction from the configuration (docs/prediction.md), and every claim.
    Fails when: less memory is available than that.
    Do: End what else runs, raise the memory limit of the container or job, or take a variant that `plimsoll plan`
    says fits.
    Symptoms: ram, group-memory
    """
    judge.limit("free_ram", node.memory.available, low=need.ram, source="predicted from the configuration")


@pytest.mark.only("files")
@pytest.mark.measures("free_disk")
def test_free_disk(disk_room: DiskRoom, judge: Judge) -> None:
    """The disk where the weights land has room for what is still to be brought there.

    Limit: At least the size of the files that are not in the cache yet, and every claim.
    Fails when: less is free than that.
    Do: Free space there, or set HF_HOME to a folder on a larger disk.
    Symptoms: disk-full, disk-read-only
    """
    judge.limit("free_disk", disk_room.free, low=disk_room.need, source=disk_room.source)
