"""One rank of a sum over all GPUs of the node, timed and checked."""

from __future__ import annotations

from typing import Final

import torch
import torch.distributed as dist

from plimsoll import clock
from plimsoll.host.rates import MeasureAllReduce, Rates, worst_error
from plimsoll.host.server.device_speed import best_of
from plimsoll.host.server.group import joined
from plimsoll.units import format_bytes

_WARM_UPS: Final = 2
_TOGETHER: Final = 5
"""Sums of a round, one right after the other, as nccl-tests makes them: of a single one a good part would be the time
until the last rank has begun."""
_CHECKED: Final = 2**24
"""Numbers whose sums are held against what they must be."""


def measure(request: MeasureAllReduce) -> Rates:
    """This rank's bus bandwidth, bytes a second, with the error of the sums.

    Raises PlimsollError where the ranks do not find each other or the library that joins them fails.
    """
    with joined(request.backend, request.rank, request.ranks, f"file://{request.meeting}", request.device):
        return _measured(request)


def _measured(request: MeasureAllReduce) -> Rates:
    device = torch.device(request.device)
    found = {}
    errors = []
    for size in request.sizes:
        count = size // torch.float32.itemsize
        errors.append(_error(min(count, _CHECKED), device, request))
        values = torch.empty(count, device=device)
        rates = []
        for round_number in range(_WARM_UPS + request.rounds):
            # Fresh ones each time: the sum of sums would grow out of all bounds.
            values.uniform_()
            seconds = _round(values, device)
            if round_number >= _WARM_UPS:
                moved = _TOGETHER * 2 * (request.ranks - 1) / request.ranks * count * values.itemsize
                rates.append(moved / seconds)
        del values
        found[format_bytes(size)] = tuple(rates)
    return best_of(found, worst_error(errors))


def _round(values: torch.Tensor, device: torch.device) -> float:
    dist.barrier()
    _wait(device)
    began = clock.monotonic()
    for _ in range(_TOGETHER):
        dist.all_reduce(values)
    _wait(device)
    return max(clock.monotonic() - began, 1e-9)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _error(count: int, device: torch.device, request: MeasureAllReduce) -> float:
    """How far the sum of every rank's numbers lies from what it must be. They are small integers, so that sums are
    exact in whatever order they are made."""
    mine = _numbers(count, request.rank, device)
    expected = sum((_numbers(count, rank, device) for rank in range(request.ranks)), torch.zeros(count, device=device))
    dist.all_reduce(mine)
    return float((mine - expected).abs().max() / expected.abs().max())


def _numbers(count: int, rank: int, device: torch.device) -> torch.Tensor:
    return torch.arange(count, device=device).add_(rank).remainder_(13).float()
