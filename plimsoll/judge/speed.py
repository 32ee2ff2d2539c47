"""Judges the speed of a device: by the floor of its product, by the node's other devices, and by the bytes that a token
must read.

The sizes of the measurements are defined here too: enough work for a device to reach its speed, in acceptable time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from plimsoll.catalogue.entries import Catalogue, Floor
from plimsoll.host.protocol import Inventory
from plimsoll.host.rates import MeasureLink, MeasureMatmul, MeasureMemory, MeasurePeer
from plimsoll.judge.judgement import Limit
from plimsoll.node.devices import CPU_KIND, Device
from plimsoll.plan.cases import TRANSFERS

ERROR_LIMITS: Final[Mapping[str, float]] = {
    # A product that is rounded once is off by 1.5e-3 in bf16, 2.1e-4 in fp16, 1.7e-3 in fp8, 2.2e-7 in fp32 (measured
    # on a CPU). GPUs may add parts of a product in 16 bits, which costs as much again and more.
    "bf16": 2e-2,
    "fp8": 2e-2,
    "fp16": 5e-3,
    "tf32": 5e-3,
    "fp32": 1e-5,
    "int8": 0.0,
}
"""The largest relative error of a product against float64 arithmetic (root mean square)."""

OTHERS_LIMIT: Final = 0.10
"""The fraction of the others' median by which a device may fall behind, as in gpu-fryer and Megatron-LM. Healthy
devices of a node differ by up to half of that, above which it is marginal."""
OTHERS_MARGIN: Final = 0.5

_SIDES: Final = {"cpu": (128, 256), "cuda": (4096, 8192, 16384)}
_BLOCKS: Final = {"cpu": (2**24, 2**26), "cuda": (2**28, 2**30)}
_ROUNDS: Final = {"cpu": 3, "cuda": 20}
_SUM_ROUNDS: Final = {"cpu": 3, "cuda": 5}
_SUMMED_PART: Final = 8
"""The largest share of each device's memory for data that is summed over all devices."""
_PART: Final = 16
"""The largest share of a device's memory for a block or a matrix."""


def matmul_request(device: Device, dtype: str) -> MeasureMatmul:
    """The request for the speed of products."""
    widest = 4
    sides = [side for side in _SIDES[device.kind] if widest * side**2 <= _share(device)]
    return MeasureMatmul(
        device=device.place, dtype=dtype, sides=tuple(sides or _SIDES[device.kind][:1]), rounds=_ROUNDS[device.kind]
    )


def memory_request(device: Device) -> MeasureMemory:
    """The request for the speed of a device's own memory."""
    return MeasureMemory(device=device.place, sizes=_blocks(device), rounds=_ROUNDS[device.kind])


def link_request(device: Device, transfer: str) -> MeasureLink:
    """The request for the speed of copies from and to RAM. Raises KeyError for an unknown transfer."""
    to_device, pinned = TRANSFERS[transfer]
    return MeasureLink(
        device=device.place,
        to_device=to_device,
        pinned=pinned,
        sizes=_blocks(device),
        rounds=_ROUNDS[device.kind],
    )


def peer_request(device: Device, place: int) -> MeasurePeer:
    """The request, to a host that sees several GPUs, for the speed of copies from the first GPU to another."""
    return MeasurePeer(source="cuda:0", target=f"cuda:{place}", sizes=_blocks(device), rounds=_ROUNDS[device.kind])


def floor_limit(catalogue: Catalogue, device: Device, metric: str, of: str | None = None) -> Limit | None:
    """The floor of the device's product; None where the catalogue has none."""
    floor = _floor(catalogue, device, metric, of)
    return None if floor is None else Limit(metric=metric, low=floor.low, source=floor.source, margin=0.05)


def sheet_share(catalogue: Catalogue, device: Device, metric: str, of: str | None, value: float) -> float | None:
    """The rate as a share of the product's data sheet; None where no sheet is known."""
    floor = _floor(catalogue, device, metric, of)
    return None if floor is None or floor.sheet is None else value / floor.sheet


def _floor(catalogue: Catalogue, device: Device, metric: str, of: str | None) -> Floor | None:
    return catalogue.floor_of(CPU_KIND if device.kind == CPU_KIND else device.name or "", metric, of)


def behind_others(device: str, rates: Mapping[str, float]) -> float:
    """How far a device's speed is below the median of the others, as a fraction of it; negative for a faster device.
    `rates` is by device, for at least two."""
    middle = median(rate for other, rate in rates.items() if other != device)
    return (middle - rates[device]) / middle


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBytes:
    """Bounds on the bytes that must be read to compute one more token of every sequence."""

    least: float
    """Where all sequences use the same experts; without experts where a token's number of them is unknown."""
    most: float
    """Where every sequence uses different experts."""


def token_bytes(
    inventory: Inventory, used: Collection[str], batch: int, cache: int, experts_share: float | None
) -> TokenBytes:
    """The stored bytes of the modules that a step runs, plus `cache` bytes. `experts_share` is the share of the experts
    that one token uses; None where it is unknown."""
    dense = experts = 0
    for record in inventory.parameters:
        size = record.data_bytes + record.statistics_bytes
        if record.name.rpartition(".")[0] not in used:
            continue
        if "experts." in f"{record.name}.":
            experts += size
        else:
            dense += size
    share = experts_share if experts_share is not None else 0.0
    most = min(1.0, batch * share) if experts_share is not None else 1.0
    return TokenBytes(least=dense + share * experts + cache, most=dense + most * experts + cache)


def _blocks(device: Device) -> tuple[int, ...]:
    found = [size for size in _BLOCKS[device.kind] if size <= _share(device)]
    return tuple(found or _BLOCKS[device.kind][:1])


def _share(device: Device) -> float:
    return float("inf") if device.memory is None else device.memory / _PART


def all_reduce_sizes(device: Device) -> tuple[int, ...]:
    """The sizes in bytes of sums over all devices. Only the largest shows the bandwidth, and floors are for figures at
    8 GiB and more."""
    sizes = {"cpu": (2**20,), "cuda": (2**28, 2**30, 2**32, 2**33)}[device.kind]
    most = float("inf") if device.memory is None else device.memory / _SUMMED_PART
    return tuple(size for size in sizes if size <= most) or sizes[:1]


def sum_rounds(device: Device) -> int:
    """How often sums of each size are measured."""
    return _SUM_ROUNDS[device.kind]
