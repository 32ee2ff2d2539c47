"""How well the GPUs of a node are linked, as NVML says it: NVLink first, then a common switch, then the processors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from plimsoll.node.devices import Device

_SYSTEM: Final = 50
"""NVML_TOPOLOGY_SYSTEM, the farthest: two GPUs whose way leads from processor to processor."""
_NVLINK: Final = 100
"""More than any way over PCIe."""


def read_links(gpus: Sequence[Device]) -> Mapping[frozenset[str], int]:
    """How well each two are linked, by their ids; more is better. A pair of which nothing can be read is not in it, and
    instances of split GPUs are linked to nothing."""
    whole = [gpu for gpu in gpus if gpu.uuid is not None and gpu.uuid.startswith("GPU-")]
    if len(whole) < 2:
        return {}
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        found = {frozenset((a.id, b.id)): _link(pynvml, a, b) for a, b in combinations(whole, 2)}
    finally:
        pynvml.nvmlShutdown()
    return {pair: rank for pair, rank in found.items() if rank is not None}


def _link(nvml: Any, first: Device, second: Device) -> int | None:
    try:
        a, b = (nvml.nvmlDeviceGetHandleByUUID(gpu.uuid) for gpu in (first, second))
    except nvml.NVMLError:
        return None
    if _has_nvlink(nvml, a, b):
        return _NVLINK
    try:
        return _SYSTEM - int(nvml.nvmlDeviceGetTopologyCommonAncestor(a, b))
    except nvml.NVMLError:
        return None


def _has_nvlink(nvml: Any, a: Any, b: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetP2PStatus(a, b, nvml.NVML_P2P_CAPS_INDEX_NVLINK) == nvml.NVML_P2P_STATUS_OK)
    except nvml.NVMLError:
        return False
