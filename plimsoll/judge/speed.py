"""What the speed of a device is held against: the floor of its product, the node's other devices, and the arithmetic of
a token.

How much work is measured is said here too: enough for a device to come to speed, in a time that a node's acceptance can
spare.
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
from plimsoll.plan.device_cases import TRANSFERS

ERROR_LIMITS: Final[Mapping[str, float]] = {
    # A product that is rounded once shows 1.5e-3 in bf16, 2.1e-4 in fp16, 1.7e-3 in fp8, 2.2e-7 in fp32 (measured on a
    # CPU). GPUs may add parts of a product in 16 bits, which costs as much again and more.
    "bf16": 2e-2,
    "fp8": 2e-2,
    "fp16": 5e-3,
    "tf32": 5e-3,
    "fp32": 1e-5,
    "int8": 0.0,
}
"""How far a product may lie from float64 arithmetic (root mean square over its own)."""

OTHERS_LIMIT: Final = 0.10
"""The part of the others' median by which a device may fall behind: what gpu-fryer and Megatron-LM allow. Healthy
devices of a node differ by up to a half of that, from where it is marginal."""
OTHERS_MARGIN: Final = 0.5

_SIDES: Final = {"cpu": (128, 256), "cuda": (4096, 8192, 16384)}
_BLOCKS: Final = {"cpu": (2**24, 2**26), "cuda": (2**28, 2**30)}
_ROUNDS: Final = {"cpu": 3, "cuda": 20}
_SUM_ROUNDS: Final = {"cpu": 3, "cuda": 5}
_SUMMED_PART: Final = 8
"""What is added up over all devices takes no more than this part of the memory of each."""
_PART: Final = 16
"""A block takes no more than this part of the device's memory, nor a matrix."""


def matmul_request(device: Device, dtype: str) -> MeasureMatmul:
    """What a device's host is asked about products."""
    widest = 4
    sides = [side for side in _SIDES[device.kind] if widest * side**2 <= _share(device)]
    return MeasureMatmul(
        device=device.place, dtype=dtype, sides=tuple(sides or _SIDES[device.kind][:1]), rounds=_ROUNDS[device.kind]
    )


def memory_request(device: Device) -> MeasureMemory:
    """What a device's host is asked about its own memory."""
    return MeasureMemory(device=device.place, sizes=_blocks(device), rounds=_ROUNDS[device.kind])


def link_request(device: Device, transfer: str) -> MeasureLink:
    """What a device's host is asked about copies from and to RAM; KeyError for a transfer that is none."""
    to_device, pinned = TRANSFERS[transfer]
    return MeasureLink(
        device=device.place,
        to_device=to_device,
        pinned=pinned,
        sizes=_blocks(device),
        rounds=_ROUNDS[device.kind],
    )


def peer_request(device: Device, place: int) -> MeasurePeer:
    """What a host that sees several GPUs is asked about copies from the first to the one at that place."""
    return MeasurePeer(source="cuda:0", target=f"cuda:{place}", sizes=_blocks(device), rounds=_ROUNDS[device.kind])


def floor_limit(catalogue: Catalogue, device: Device, metric: str, of: str | None = None) -> Limit | None:
    """The floor of the device's product; None where the catalogue has none."""
    floor = _floor(catalogue, device, metric, of)
    return None if floor is None else Limit(metric=metric, low=floor.low, source=floor.source, margin=0.05)


def sheet_share(catalogue: Catalogue, device: Device, metric: str, of: str | None, value: float) -> float | None:
    """The part of what the product's data sheet promises; None where no sheet is known."""
    floor = _floor(catalogue, device, metric, of)
    return None if floor is None or floor.sheet is None else value / floor.sheet


def _floor(catalogue: Catalogue, device: Device, metric: str, of: str | None) -> Floor | None:
    return catalogue.floor_of(CPU_KIND if device.kind == CPU_KIND else device.name or "", metric, of)


def behind_others(device: str, rates: Mapping[str, float]) -> float:
    """How far a device's speed lies below the median of the others', as a part of that; negative for a faster one.
    `rates` is by device, of two at least."""
    middle = median(rate for other, rate in rates.items() if other != device)
    return (middle - rates[device]) / middle


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBytes:
    """Bounds on the bytes that computing one further token of every sequence must read."""

    least: float
    """With all sequences at the same experts, and none at all where it is not known how many a token takes."""
    most: float
    """With every sequence at experts of its own."""


def token_bytes(
    inventory: Inventory, used: Collection[str], batch: int, cache: int, experts_share: float | None
) -> TokenBytes:
    """What is stored in the modules that a step runs, and `cache` bytes. `experts_share` is the part of the experts
    that one token takes; None where that is not known."""
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
    """Bytes that are added up over all devices. Bandwidth shows at the largest alone, and floors are of figures at
    8 GiB and more."""
    sizes = {"cpu": (2**20,), "cuda": (2**28, 2**30, 2**32, 2**33)}[device.kind]
    most = float("inf") if device.memory is None else device.memory / _SUMMED_PART
    return tuple(size for size in sizes if size <= most) or sizes[:1]


def sum_rounds(device: Device) -> int:
    """How often sums of each size are measured."""
    return _SUM_ROUNDS[device.kind]
