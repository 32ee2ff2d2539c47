"""Ranks the links between a node's GPUs by NVML: NVLink first, then a common switch, then through the processors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from plimsoll.node.devices import Device

_SYSTEM: Final = 50
"""NVML_TOPOLOGY_SYSTEM, the farthest: the way between the GPUs leads from processor to processor."""
_NVLINK: Final = 100
"""More than any way over PCIe gets."""


def read_links(gpus: Sequence[Device]) -> Mapping[frozenset[str], int]:
    """How well each pair of GPUs is linked, by their ids; more is better. Pairs that cannot be read are missing, and
    instances of split GPUs have no links."""
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
