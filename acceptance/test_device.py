"""Is each device as fast as its product is, at what a model asks of it: products, memory, links, sums over all."""

from __future__ import annotations

import pytest

from fixtures.device_speed import SpeedMeter
from fixtures.judging import Judge
from plimsoll.judge.speed import ERROR_LIMITS, OTHERS_LIMIT, OTHERS_MARGIN, behind_others
from plimsoll.node.devices import Device
from plimsoll.plan.device_cases import MEMORY, DeviceCase

pytestmark = [pytest.mark.devices, pytest.mark.speed]

_ROUNDING = "the suite's own: what rounding costs in this dtype (plimsoll/judge/speed.py)"


@pytest.mark.measures("matmul_rate", "matmul_error")
def test_matmul(matmul: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Products of random matrices are right, and as many a second as the product's floor asks for."""
    rates = speed_meter.rates(matmul.device, matmul.of)
    high = ERROR_LIMITS[matmul.of]
    judge.limit("matmul_error", rates.error, high=high, source=_ROUNDING, device=matmul.device, of=matmul.of)
    speed_meter.floor(judge, matmul.device, "matmul_rate", rates, matmul.of)


@pytest.mark.measures("memory_bandwidth")
def test_bandwidth(device: Device, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Copies inside the device's memory are as fast as the product's floor asks for, and arrive whole."""
    speed_meter.floor(judge, device, "memory_bandwidth", speed_meter.rates(device, MEMORY))


@pytest.mark.measures("link_rate")
def test_link(transfer: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Copies between RAM and the GPU are as fast as its link should be, and arrive whole."""
    rates = speed_meter.rates(transfer.device, transfer.of)
    speed_meter.floor(judge, transfer.device, "link_rate", rates, transfer.of)


@pytest.mark.measures("peer_rate")
def test_peer_copies(peers: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Copies from the GPU to every other are as fast as their link should be, and arrive whole."""
    for rates in speed_meter.peers(peers.device, peers.others).values():
        speed_meter.floor(judge, peers.device, "peer_rate", rates)


@pytest.mark.measures("all_reduce_rate", "sum_error")
def test_all_reduce(ranks: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Sums over all devices of the node are exact, and as fast as their links should make them."""
    rates = speed_meter.all_reduce((ranks.device, *ranks.others))
    exact = "sums of small integers are exact in float32"
    judge.limit("sum_error", rates.error, high=0.0, source=exact, device=ranks.device)
    speed_meter.floor(judge, ranks.device, "all_reduce_rate", rates, ranks.of)


@pytest.mark.measures("behind_others")
def test_as_fast_as_its_product(alike: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """The GPU is not slower than the others of its product in this node."""
    devices = (alike.device, *alike.others)
    rates = {one.id: speed_meter.rates(one, alike.of).rate for one in devices}
    judge.limit(
        "behind_others",
        behind_others(alike.device.id, rates),
        high=OTHERS_LIMIT,
        margin=OTHERS_MARGIN,
        source="gpu-fryer and Megatron-LM: a tenth; healthy GPUs of a node differ by half of that",
        device=alike.device,
        of=alike.of,
        rates=rates,
    )
