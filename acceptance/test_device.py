"""Is each device as fast as its product should be, at what a model asks of it: products, memory, links, sums?"""

from __future__ import annotations

import pytest

from fixtures.device_speed import SpeedMeter
from fixtures.judging import Judge
from plimsoll.judge.speed import ERROR_LIMITS, OTHERS_LIMIT, OTHERS_MARGIN, behind_others
from plimsoll.node.devices import Device
from plimsoll.plan.cases import MEMORY, DeviceCase

pytestmark = [pytest.mark.devices, pytest.mark.speed]

_ROUNDING = "the suite's own: what rounding costs in this dtype (plimsoll/judge/speed.py)"


@pytest.mark.measures("matmul_rate", "matmul_error")
def test_matmul(matmul: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Products of random matrices are right, and as fast as the floor of the product asks for.

    Limit: Speed: the floor of the catalogue for this product and dtype. Error: what rounding costs in the dtype
    (plimsoll/judge/speed.py).
    Fails when: the rate is below the floor, or the error above its limit.
    Do: Look at test_throttle and `nvidia-smi -q -d PERFORMANCE,POWER`: heat, a power limit and other users of the GPU
    are the usual causes. A wrong product is a fault of the GPU or its driver: drain it.
    Symptoms: no-floor, gpu-broken
    """
    rates = speed_meter.rates(matmul.device, matmul.of)
    high = ERROR_LIMITS[matmul.of]
    judge.limit("matmul_error", rates.error, high=high, source=_ROUNDING, device=matmul.device, of=matmul.of)
    speed_meter.floor(judge, matmul.device, "matmul_rate", rates, matmul.of)


@pytest.mark.measures("memory_bandwidth")
def test_bandwidth(device: Device, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Copies inside the device's memory arrive whole, and are as fast as the floor of the product asks for.

    Limit: The floor of the catalogue for this product (docs/device-speed.md).
    Fails when: the rate is below the floor.
    Do: Look at the memory clock (`nvidia-smi -q -d CLOCK`), at other users of the GPU, and at test_ecc and
    test_remapped_rows of the same GPU.
    Symptoms: no-floor, gpu-broken
    """
    speed_meter.floor(judge, device, "memory_bandwidth", speed_meter.rates(device, MEMORY))


@pytest.mark.measures("link_rate")
def test_link(transfer: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Copies between RAM and the GPU arrive whole, and are as fast as the link should be.

    Limit: The floor of the catalogue for this product (docs/device-speed.md).
    Fails when: the rate is below the floor in one direction.
    Do: Compare the link's generation and width under load with what the slot has (`nvidia-smi -q -d PCIE`). Pin the
    run to the processors next to the GPU, and try it without other load.
    Symptoms: no-floor
    """
    rates = speed_meter.rates(transfer.device, transfer.of)
    speed_meter.floor(judge, transfer.device, "link_rate", rates, transfer.of)


@pytest.mark.measures("peer_rate")
def test_peer_copies(peers: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Copies from the GPU to every other arrive whole, and are as fast as their link should be.

    Limit: The floor of the catalogue for this product (docs/device-speed.md).
    Fails when: the rate to one of the others is below the floor.
    Do: `nvidia-smi topo -m` shows the link of each pair, and `nvidia-smi nvlink -s` its state. See test_links of both
    GPUs.
    Symptoms: no-floor, fabric
    """
    for rates in speed_meter.peers(peers.device, peers.others).values():
        speed_meter.floor(judge, peers.device, "peer_rate", rates)


@pytest.mark.measures("all_reduce_rate", "sum_error")
def test_all_reduce(ranks: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """Sums over all devices of the node are exact, and as fast as their links should make them.

    Limit: Error: zero, since sums of small integers are exact in float32. Speed: the floor of the catalogue
    (docs/device-speed.md).
    Fails when: a sum is wrong, or the bus bandwidth is below the floor.
    Do: Look at test_peer_copies first: one slow pair slows every sum. If all pairs are fast, run with NCCL_DEBUG=INFO
    and look at which transport it takes. A wrong sum is a fault of a GPU or a link: drain the node.
    Symptoms: no-floor, fabric, hang
    """
    rates = speed_meter.all_reduce((ranks.device, *ranks.others))
    exact = "sums of small integers are exact in float32"
    judge.limit("sum_error", rates.error, high=0.0, source=exact, device=ranks.device)
    speed_meter.floor(judge, ranks.device, "all_reduce_rate", rates, ranks.of)


@pytest.mark.measures("behind_others")
def test_as_fast_as_its_product(alike: DeviceCase, speed_meter: SpeedMeter, judge: Judge) -> None:
    """The GPU is not slower than the others of its product in this node.

    Limit: What gpu-fryer and Megatron-LM allow. From half of it on the GPU is marginal.
    Fails when: the GPU is further below the median of the others.
    Do: Compare its clocks, temperature and power limit with those of the others (`nvidia-smi -q -d
    CLOCK,TEMPERATURE,POWER`). If they are equal, swap its place or ask for repair.
    Symptoms: gpu-broken
    """
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
