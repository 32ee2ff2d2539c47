"""Memory of GPUs, on scripted ones: what is read, when, and what is left unsaid where there is no answer.

No GPU is needed; that the figures are right on a real one is for a run on a real one to show.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from plimsoll.host.server import gpu_memory
from plimsoll.host.server.gpu_memory import GpuMeter

CONTEXT, SEGMENT, OTHERS = 500 * 2**20, 2 * 2**20, 3 * 2**30


class NoAnswer(Exception):  # noqa: N818  it stands for pynvml.NVMLError
    pass


@dataclass
class Card:
    """A GPU on which other tenants hold OTHERS, and of which this process takes a context and memory."""

    uuid: str
    mig: bool = False
    used: int = OTHERS
    reserved: int = 0
    allocated: int = 0
    peak: int = 0
    processes: list[Any] = field(default_factory=list)


class Machine:
    """torch.cuda and pynvml over the same cards. `visible` are those that CUDA shows, in its order."""

    def __init__(self, *cards: Card, visible: list[int] | None = None, nvml: bool = True) -> None:
        self.cards = cards
        self.visible = [cards[index] for index in visible or range(len(cards))]
        self.nvml = nvml
        self.initialised = False
        self.generations = iter([1, 1, 3])
        """Of the PCIe link, which trains up while something is copied."""
        self.told: str | None = None
        """The UUID that CUDA gives for each card, where it is not the card's own."""
        self.meanwhile = 0
        """What a neighbour takes, or gives back, while the context is made."""

    def card(self, device: torch.device) -> Card:
        self.initialised = True
        return self.visible[device.index or 0]

    def zeros(self, *_: int, device: torch.device | None = None, dtype: Any = None) -> torch.Tensor:
        if device is None or dtype is not None:
            return torch.ones(2)  # what is copied to see the link at work
        card = self.card(device)
        card.used += CONTEXT + SEGMENT + self.meanwhile
        card.reserved = SEGMENT
        return torch.ones(2)

    def empty_cache(self) -> None:
        for card in self.visible:
            card.used -= card.reserved
            card.reserved = 0

    def take(self, index: int, held: int, peak: int) -> None:
        """Load something: `peak` at its highest, of which `held` stays allocated and all stays reserved."""
        card = self.visible[index]
        card.allocated, card.peak, card.reserved = held, peak, peak
        card.used += peak

    def torch(self) -> Any:
        cuda = SimpleNamespace(
            is_initialized=lambda: self.initialised,
            synchronize=self.card,
            get_device_properties=lambda device: SimpleNamespace(uuid=self.told or self.card(device).uuid),
            memory_reserved=lambda device: self.card(device).reserved,
            empty_cache=self.empty_cache,
            reset_peak_memory_stats=lambda device: setattr(self.card(device), "peak", 0),
            memory_allocated=lambda device: self.card(device).allocated,
            max_memory_allocated=lambda device: self.card(device).peak,
            max_memory_reserved=lambda device: self.card(device).reserved,
        )
        return SimpleNamespace(cuda=cuda, zeros=self.zeros, uint8=torch.uint8)

    def pynvml(self) -> Any:
        return SimpleNamespace(
            NVMLError=NoAnswer,
            nvmlInit=lambda: None if self.nvml else self.refuse(),
            nvmlDeviceGetCount=lambda: len(self.cards),
            nvmlDeviceGetHandleByIndex=lambda index: self.cards[index],
            nvmlDeviceGetUUID=lambda card: f"GPU-{card.uuid}-parent" if card.mig else f"GPU-{card.uuid}",
            nvmlDeviceGetHandleByUUID=self.by_uuid,
            nvmlDeviceGetMemoryInfo=lambda card: SimpleNamespace(used=card.used),
            nvmlDeviceGetCurrPcieLinkGeneration=lambda _card: next(self.generations, 5),
            nvmlDeviceGetCurrPcieLinkWidth=lambda _card: 16,
            nvmlDeviceGetComputeRunningProcesses=lambda card: card.processes,
        )

    def by_uuid(self, uuid: str) -> Card:
        for card in self.cards:
            if uuid == f"{'MIG' if card.mig else 'GPU'}-{card.uuid}":
                return card
        raise NoAnswer(uuid)

    def refuse(self) -> None:
        raise NoAnswer("no driver")


def install(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Machine:
    monkeypatch.setattr(gpu_memory, "torch", machine.torch())
    monkeypatch.setattr(gpu_memory, "pynvml", machine.pynvml())
    return machine


def gpu(index: int) -> torch.device:
    return torch.device("cuda", index)


def test_context_allocator_and_device_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("a")))
    mine = SimpleNamespace(pid=os.getpid(), usedGpuMemory=CONTEXT + SEGMENT)
    machine.cards[0].processes = [SimpleNamespace(pid=os.getpid() + 1, usedGpuMemory=OTHERS), mine]
    meter = GpuMeter([gpu(0)])
    machine.take(0, held=8 * 2**30, peak=10 * 2**30)
    mine.usedGpuMemory = 11 * 2**30
    (result,) = meter.result()
    meter.stop()
    assert result.device == "cuda:0"
    assert (result.pcie_generation, result.pcie_width) == (5, 16)
    assert (result.context, result.context_by) == (CONTEXT, "process")
    assert (result.others_before, result.others_after) == (OTHERS, OTHERS)
    assert (result.allocated_after, result.allocated_peak, result.reserved_peak) == (8 * 2**30, 10 * 2**30, 10 * 2**30)
    assert result.device_delta == 10 * 2**30
    assert result.process == 11 * 2**30


def test_a_context_without_a_figure_of_the_process_is_what_the_device_grew_by(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Machine(Card("a")))
    (result,) = GpuMeter([gpu(0)]).result()
    assert (result.context, result.context_by) == (CONTEXT, "device")
    assert (result.process, result.others_before) == (None, None), "who holds what is not told"


def test_a_neighbour_that_gives_back_memory_makes_no_context_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(Card("a"))
    machine.meanwhile = -CONTEXT - 2**30
    install(monkeypatch, machine)
    (result,) = GpuMeter([gpu(0)]).result()
    assert (result.context, result.context_by) == (None, "")


def test_what_was_sampled_is_told_with_what_it_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("a")))
    meter = GpuMeter([gpu(0)])
    machine.take(0, held=5, peak=6)
    peak = machine.cards[0].used + 2**30
    machine.cards[0].used = peak
    while meter.result()[0].interval is None:
        time.sleep(0.01)
    machine.cards[0].used = 0
    (result,) = meter.result()
    meter.stop()
    assert result.device_peak == peak
    assert result.interval is not None
    assert result.cost is not None
    assert result.device_after == 0


def test_cards_are_matched_by_uuid_and_not_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("a", used=7), Card("b"), Card("c"), visible=[2, 1]))
    meter = GpuMeter([gpu(0), gpu(1)])
    machine.take(1, held=5, peak=6)
    first, second = meter.result()
    assert (first.context, second.context) == (CONTEXT, CONTEXT)
    assert (first.device_delta, second.device_delta) == (0, 6)
    assert machine.cards[0].used == 7, "a card that CUDA does not show is left alone"


def test_a_second_meter_cannot_measure_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Machine(Card("a")))
    GpuMeter([gpu(0)])
    assert GpuMeter([gpu(0)]).result()[0].context is None


def test_without_nvml_the_allocator_still_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("a"), nvml=False))
    meter = GpuMeter([gpu(0)])
    machine.take(0, held=3, peak=4)
    (result,) = meter.result()
    assert (result.allocated_after, result.allocated_peak) == (3, 4)
    assert (result.context, result.process, result.device_delta) == (None, None, None)


def test_a_mig_instance_is_asked_by_its_own_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("a", mig=True)))
    meter = GpuMeter([gpu(0)])
    machine.take(0, held=3, peak=4)
    (result,) = meter.result()
    assert (result.context, result.device_delta) == (None, 4)


def test_an_instance_is_found_where_cuda_tells_the_uuid_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("whole", used=7), Card("part", mig=True), visible=[1]))
    machine.told = "whole"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-part")
    meter = GpuMeter([gpu(0)])
    machine.take(0, held=3, peak=4)
    (result,) = meter.result()
    assert (result.uuid, result.device_delta) == ("part", 4)


def test_a_process_that_nvml_does_not_know_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("a")))
    machine.cards[0].processes = [SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)]
    assert GpuMeter([gpu(0)]).result()[0].process is None
    machine.cards[0].processes = []
    assert GpuMeter([gpu(0)]).result()[0].process is None


def test_no_gpu_is_no_figure_and_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine())
    assert GpuMeter([]).result() == ()
    assert not machine.initialised


def test_after_unloading_what_is_still_held_stands_beside_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = install(monkeypatch, Machine(Card("a"), Card("b")))
    mine = SimpleNamespace(pid=os.getpid(), usedGpuMemory=CONTEXT)
    machine.cards[0].processes = [mine]
    meter = GpuMeter([gpu(0), gpu(1)])
    machine.take(0, held=8 * 2**30, peak=10 * 2**30)
    meter.stop()
    # Weights of one layer live on, on the first GPU; the pool gave the rest back.
    machine.cards[0].allocated = machine.cards[0].reserved = 2**28
    machine.cards[0].used -= 10 * 2**30 - 2**28
    mine.usedGpuMemory = CONTEXT + 2**28
    first, second = meter.released()
    assert (first.allocated_before, first.allocated_after, first.reserved_after) == (0, 2**28, 2**28)
    assert first.process_after is not None
    assert first.process_before is not None
    assert first.process_after - first.process_before == 2**28
    assert (first.device_after or 0) - (first.device_before or 0) == 2**28
    assert (second.allocated_before, second.allocated_after, second.process_after) == (0, 0, None)


def test_without_a_gpu_nothing_is_said_of_unloading() -> None:
    assert GpuMeter([]).released() == ()
