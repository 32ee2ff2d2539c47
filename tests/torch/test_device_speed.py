"""Speeds of the processor, by the code that measures GPUs: right rates of right products, and bytes that arrive."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from plimsoll.errors import PlimsollError
from plimsoll.host.rates import MeasureLink, MeasureMatmul, MeasureMemory
from plimsoll.host.server import device_speed
from plimsoll.judge.speed import ERROR_LIMITS
from plimsoll.plan.cases import DTYPES


@pytest.mark.parametrize("dtype", DTYPES["cpu"])
def test_products_are_right_in_every_dtype(dtype: str) -> None:
    rates = device_speed.matmul(MeasureMatmul(device="cpu", dtype=dtype, sides=(64, 128), rounds=2))
    assert set(rates.medians) == {"64 x 64 x 64", "128 x 128 x 128"}
    assert len(rates.rounds) == 2
    assert rates.rate == max(rates.medians.values()) > 0
    assert rates.error is not None
    assert rates.error <= ERROR_LIMITS[dtype]


@pytest.mark.parametrize("dtype", DTYPES["cpu"])
def test_a_product_that_is_off_by_a_twentieth_is_told(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    sound = device_speed._factors

    def faulty(dtype: str, side: int, device: torch.device) -> device_speed._Factors:
        left, right, multiply = sound(dtype, side, device)
        return left, right, lambda: (multiply().double() * 1.05).to(multiply().dtype)

    monkeypatch.setattr(device_speed, "_factors", faulty)
    rates = device_speed.matmul(MeasureMatmul(device="cpu", dtype=dtype, sides=(64,), rounds=1))
    assert rates.error is not None
    assert rates.error > 2 * ERROR_LIMITS[dtype]


def test_a_product_that_is_no_number_is_told_whatever_size_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = device_speed._factors

    def faulty(dtype: str, side: int, device: torch.device) -> device_speed._Factors:
        left, right, multiply = sound(dtype, side, device)
        return left, right, lambda: multiply() * (math.nan if side == 64 else 1.0)

    monkeypatch.setattr(device_speed, "_factors", faulty)
    rates = device_speed.matmul(MeasureMatmul(device="cpu", dtype="bf16", sides=(32, 64, 96), rounds=1))
    assert rates.error is not None
    assert math.isnan(rates.error)


def test_a_dtype_that_torch_cannot_multiply_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise RuntimeError("not implemented for 'Half'\nand a stack of C++")

    monkeypatch.setattr(torch, "_int_mm", refuse)
    with pytest.raises(PlimsollError, match=r"^torch cannot multiply int8 on cpu: not implemented for 'Half'$"):
        device_speed.matmul(MeasureMatmul(device="cpu", dtype="int8", sides=(32,), rounds=1))


def test_float32_products_are_as_before_afterwards() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    device_speed.matmul(MeasureMatmul(device="cpu", dtype="tf32", sides=(32,), rounds=1))
    assert torch.backends.cuda.matmul.fp32_precision == before


class _OlderSettings:
    """As torch had them before 2.9: an attribute that it does not know is an error, to read and to write."""

    def __init__(self) -> None:
        self.__dict__["seen"] = [False]

    seen: list[bool]

    def __getattr__(self, name: str) -> bool:
        if name != "allow_tf32":
            raise AttributeError("Unknown attribute " + name)
        return bool(self.seen[-1])

    def __setattr__(self, name: str, value: bool) -> None:
        if name != "allow_tf32":
            raise AttributeError("Unknown attribute " + name)
        self.seen.append(value)


@pytest.mark.parametrize(("dtype", "allowed"), [("tf32", True), ("bf16", False)])
def test_a_torch_that_names_no_precisions_multiplies_too(
    monkeypatch: pytest.MonkeyPatch, dtype: str, *, allowed: bool
) -> None:
    older = _OlderSettings()
    monkeypatch.setattr(torch.backends.cuda, "matmul", older)
    assert device_speed.matmul(MeasureMatmul(device="cpu", dtype=dtype, sides=(32,), rounds=1)).rate > 0
    assert older.seen == [False, allowed, False]


def test_memory_counts_bytes_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_speed, "_timed", lambda _device, work, rounds: [work() is None or 0.5] * rounds)
    rates = device_speed.memory(MeasureMemory(device="cpu", sizes=(1000,), rounds=3))
    assert rates.rounds == (4000.0, 4000.0, 4000.0)
    one_way = device_speed.link(MeasureLink(device="cpu", to_device=True, pinned=False, sizes=(1000,), rounds=1))
    assert one_way.rounds == (2000.0,)


def test_memory_is_measured_with_the_blocks_that_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = device_speed._random_bytes

    def full(size: int, device: torch.device) -> torch.Tensor:
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sound(size, device)

    monkeypatch.setattr(device_speed, "_random_bytes", full)
    room = 2**16
    rates = device_speed.memory(MeasureMemory(device="cpu", sizes=(2**16, 2**20), rounds=1))
    assert len(rates.medians) == 1
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        device_speed.memory(MeasureMemory(device="cpu", sizes=(2**16, 2**20), rounds=1))


def test_bytes_that_do_not_arrive_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_speed, "_timed", lambda _device, _work, rounds: [1.0] * rounds)
    with pytest.raises(PlimsollError, match="from cpu to cpu came out with other bytes"):
        device_speed.memory(MeasureMemory(device="cpu", sizes=(4096,), rounds=1))


@pytest.mark.parametrize(
    ("told", "expected"),
    [("0-1,64-65\n", {0, 1, 64, 65}), ("7\n", {7}), ("\n", set()), (None, set())],
)
def test_the_cores_beside_a_gpu_are_the_kernels_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str | None, expected: set[int]
) -> None:
    where = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x9A, pci_device_id=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: where)
    monkeypatch.setattr(device_speed, "_PCI", tmp_path)
    (tmp_path / "0000:9a:00.0").mkdir()
    if told is not None:
        (tmp_path / "0000:9a:00.0" / "local_cpulist").write_text(told)
    assert device_speed._near_cores(torch.device("cuda", 0)) == expected
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace())
    assert device_speed._near_cores(torch.device("cuda", 0)) == set(), "an older torch does not tell"


def test_copies_run_beside_their_gpu_and_the_host_where_it_was_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = os.sched_getaffinity(0)
    one = min(everywhere)
    seen: list[set[int]] = []

    def moved(*_: object) -> tuple[float, ...]:
        seen.append(os.sched_getaffinity(0))
        return (1.0,)

    monkeypatch.setattr(device_speed, "_near_cores", lambda _: {one, 10**6})
    monkeypatch.setattr(device_speed, "_moved", moved)
    device_speed.link(MeasureLink(device="cpu", to_device=True, pinned=False, sizes=(64,), rounds=1))
    assert seen == [{one}]
    assert os.sched_getaffinity(0) == everywhere
    monkeypatch.setattr(device_speed, "_near_cores", lambda _: {10**6})
    device_speed.link(MeasureLink(device="cpu", to_device=True, pinned=False, sizes=(64,), rounds=1))
    assert seen[1] == everywhere, "cores that this process may not use are none"
