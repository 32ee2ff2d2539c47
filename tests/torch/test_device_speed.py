"""Speeds of the processor, by the code that measures GPUs: right rates of right products, and bytes that arrive."""

from __future__ import annotations

import pytest
import torch

from plimsoll.errors import PlimsollError
from plimsoll.host.rates import MeasureLink, MeasureMatmul, MeasureMemory
from plimsoll.host.server import device_speed
from plimsoll.judge.speed import ERROR_LIMITS
from plimsoll.plan.device_cases import DTYPES


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


def test_memory_counts_bytes_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_speed, "_timed", lambda _device, work, rounds: [work() is None or 0.5] * rounds)
    rates = device_speed.memory(MeasureMemory(device="cpu", sizes=(1000,), rounds=3))
    assert rates.rounds == (4000.0, 4000.0, 4000.0)
    one_way = device_speed.link(MeasureLink(device="cpu", to_device=True, pinned=False, sizes=(1000,), rounds=1))
    assert one_way.rounds == (2000.0,)


def test_bytes_that_do_not_arrive_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_speed, "_timed", lambda _device, _work, rounds: [1.0] * rounds)
    with pytest.raises(PlimsollError, match="from cpu to cpu came out with other bytes"):
        device_speed.memory(MeasureMemory(device="cpu", sizes=(4096,), rounds=1))
