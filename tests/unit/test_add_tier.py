"""The tier of an entry that a command writes: by the size of the model, and by what the machine has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.commands.add import fitting_tier
from plimsoll.host.describing import Counts
from plimsoll.node.node import Memory, Node
from plimsoll.plan.planning import machine_of

GB = 10**9


def node(*, gpu: bool, available: int = 64 * GB) -> Node:
    machine = machine_of(read_catalogue().profiles["h100-80g"]).node
    memory = Memory(total=available, available=available, limit=None)
    return replace(machine, memory=memory) if gpu else replace(machine, gpus=(), memory=memory)


def counts(total: int, experts: int = 0) -> Counts:
    return Counts(total=total, active=total - experts, embedding=0, experts=experts)


@pytest.mark.parametrize(
    ("total", "experts", "expected"),
    [
        (135_000_000, 0, "gpu1b"),
        (3_821_079_552, 0, "gpu3b"),
        (8_030_261_248, 0, "gpu8b"),
        (20_914_757_184, 19_000_000_000, "gpu8b"),
        (70_553_706_496, 0, "gpu70b"),
        (46_702_792_704, 45_097_156_608, "gpumoe"),
    ],
)
def test_with_a_gpu_the_size_decides(total: int, experts: int, expected: str) -> None:
    assert fitting_tier(counts(total, experts), 2 * total, node(gpu=True)) == (expected, "by its size")


def test_without_a_gpu_the_processor_takes_what_its_ram_holds() -> None:
    small, large = counts(8 * GB), counts(40 * GB)
    assert fitting_tier(small, 16 * GB, node(gpu=False)) == (
        "cpu",
        "this machine has no GPU; on one that has: --tier gpu8b",
    )
    tier, why = fitting_tier(large, 80 * GB, node(gpu=False))
    assert tier == "gpu70b"
    assert why == "by its size: this machine has no GPU, and no 81.07 GB (75.51 GiB) of RAM for it"
