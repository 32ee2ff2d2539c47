"""Lists the devices that a run can use: the processor, and each GPU that the environment leaves to it.

One CUDA process sees what `CUDA_VISIBLE_DEVICES` names. A run has a process for each model and gives each its GPU by
UUID, so it can use all GPUs, even where CUDA would number them by speed, and every instance of a split GPU (MIG), of
which one process can see only one. NVML ranks the links between GPUs: NVLink first, then a common switch, then the way
through the processors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final, Self

from plimsoll.node.driver import step_to_a_gpu
from plimsoll.node.node import Gpu, Node
from plimsoll.node.visible import INSTANCE, Hidden, as_gpu, chosen_gpus, doubtful_numbers, name_an_instance, names_none

CPU_KIND: Final = "cpu"
CUDA_KIND: Final = "cuda"
_SYSTEM: Final = 50
"""NVML_TOPOLOGY_SYSTEM, the farthest: the way between the GPUs leads from processor to processor."""
_NVLINK: Final = 100
"""More than any way over PCIe gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device: the processor, or a GPU, which may be an instance of a split one."""

    id: str
    """`cpu`; `gpu3` by NVML's index, which nvidia-smi shows; `gpu3.1` for the second instance of a split GPU."""
    kind: str
    """`cpu` or `cuda`, as tiers name what they need."""
    index: int | None = None
    """NVML's index of the whole GPU; None for the processor, and for NO_GPU."""
    uuid: str | None = None
    """Of the GPU or the instance; None where NVML does not say."""
    serial: str | None = None
    """Of the whole GPU; None where NVML does not say, as for consumer cards."""
    name: str | None = None
    """The product's name, or an instance's profile."""
    memory: int | None = None
    """Total bytes of memory; None where NVML does not say."""
    compute_capability: str | None = None
    """`9.0`; None for the processor, and where NVML does not say."""

    @property
    def place(self) -> str:
        """Its name for torch in a host that was started for it, where a GPU is the only one."""
        return CPU_KIND if self.kind == CPU_KIND else "cuda:0"

    @property
    def is_instance(self) -> bool:
        """True for an instance of a split GPU (MIG)."""
        return self.uuid is not None and self.uuid.startswith(INSTANCE)

    @property
    def is_there(self) -> bool:
        """False for NO_GPU, the placeholder in a run that wants GPUs and has none."""
        return self.kind == CPU_KIND or self.index is not None

    @property
    def cuda_name(self) -> str | None:
        """Its name in `CUDA_VISIBLE_DEVICES`; None for the processor, and for NO_GPU."""
        if self.kind == CPU_KIND or self.index is None:
            return None
        return self.uuid or str(self.index)

    def to_json(self) -> dict[str, Any]:
        """Its data for evidence: id, index, UUID, serial number and product."""
        return {"id": self.id, "index": self.index, "uuid": self.uuid, "serial": self.serial, "name": self.name}


CPU_DEVICE: Final = Device(id="cpu", kind=CPU_KIND)
NO_GPU: Final = Device(id="gpu0", kind=CUDA_KIND)
"""The placeholder where a run has no GPU: its checks are planned, and the gate says why they cannot run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The devices of a run. `gpus` are in CUDA's order where the environment names them, else in NVML's."""

    gpus: tuple[Device, ...] = ()
    others: tuple[Device, ...] = ()
    """GPUs that the environment leaves to the run, but that the run leaves out."""

    @property
    def several(self) -> bool:
        """True where the run could use more than one GPU: then the ids of checks name the GPU."""
        return len(self.gpus) + len(self.others) > 1

    @property
    def usable(self) -> tuple[Device, ...]:
        """Every GPU that the environment leaves to the run, by index."""
        return tuple(sorted((*self.gpus, *self.others), key=lambda device: (device.index or 0, device.id)))

    def named(self, ids: Collection[str]) -> tuple[Device, ...]:
        """The GPUs with these ids, in this order. Raises KeyError for an unknown id."""
        known = {device.id: device for device in self.gpus}
        return tuple(known[one] for one in ids)

    @classmethod
    def of(cls, node: Node) -> Self:
        """The devices of a node."""
        if not node.gpus:
            return cls()  # why there is none, and what to do, is looked up where it is told
        found = usable_gpus(node)
        return cls(gpus=() if isinstance(found, Hidden) else _devices(node, found))

    def of_kind(self, kind: str) -> tuple[Device, ...]:
        """The devices for tiers of a kind (`cpu`, `cuda`), never empty."""
        return (CPU_DEVICE,) if kind == CPU_KIND else self.gpus or (NO_GPU,)


NO_GPUS: Final = Devices()
"""The devices of a node without a GPU, or before it was probed."""


def usable_gpus(node: Node) -> tuple[Gpu, ...] | Hidden:
    """The GPUs that hosts of a run can be given, each to a host of its own; never empty.

    An instance of a split GPU is a device of its own, with its own UUID and memory, and the index of the whole GPU. A
    lost GPU cannot be given to a host.
    """
    if not node.gpus:
        why = node.why_unread("gpus") if any(entry.what == "gpus" for entry in node.unread) else "NVML lists no GPU"
        return Hidden(why=why, fix=step_to_a_gpu(node))
    wanted = node.environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        named: Sequence[Gpu] = [one for gpu in node.gpus for one in _parts(gpu)]
    else:
        tokens = [token.strip() for token in wanted.split(",")]
        if any(token.isdecimal() for token in tokens) and (doubt := doubtful_numbers(node)):
            return doubt
        named = _named(node, tokens)
    # NVML also counts GPUs for which it gives this process no handle: those belong to others.
    answering = tuple(gpu for gpu in named if gpu.lost is None and (gpu.uuid or gpu.name))
    return answering or _why_none(node, wanted)


def seen_by(node: Node, devices: Sequence[Device]) -> Node:
    """The node as a host with these GPUs sees it: `visible_gpus` and the gate then consider only them."""
    return replace(node, environment={**node.environment, **visibility(devices)})


def visibility(devices: Sequence[Device]) -> Mapping[str, str]:
    """The environment of a host that sees only these GPUs, the first as `cuda:0`; empty for no GPU."""
    names = [name for device in devices if (name := device.cuda_name) is not None]
    if not names:
        return {}
    by_number = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if any(name.isdecimal() for name in names) else {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(names), **by_number}


def _parts(gpu: Gpu) -> tuple[Gpu, ...]:
    """The GPU itself, or the instances that it was split into."""
    return tuple(as_gpu(gpu, number) for number in range(len(gpu.instances))) if gpu.mig else (gpu,)


def _named(node: Node, tokens: Sequence[str]) -> list[Gpu]:
    """The GPUs that the environment names, as CUDA reads it: up to the first unknown name; a repeated name hides
    all."""
    found: list[Gpu] = []
    for token in tokens:
        fits = _fitting(node, token)
        if not fits:
            break
        if any(fit in found for fit in fits):
            return []
        found += fits
    return found


def _fitting(node: Node, token: str) -> list[Gpu]:
    """The instance or GPU of a name, or all instances of a split GPU; empty for an unknown or ambiguous name."""
    if not token.startswith(INSTANCE):
        return [one for gpu in chosen_gpus(node.gpus, [token]) for one in _parts(gpu)]
    parts = [part for gpu in node.gpus for part in _parts(gpu) if (part.uuid or "").startswith(token)]
    return parts if len(parts) == 1 else []


def _why_none(node: Node, wanted: str | None) -> Hidden:
    lost = next((gpu for gpu in node.gpus if gpu.lost is not None), None)
    split = next((gpu for gpu in node.gpus if gpu.mig and not gpu.instances), None)
    if split is not None and not (wanted or "").startswith(INSTANCE):
        why = f"GPU {split.index} is split (MIG), and shows this process none of its instances"
        return Hidden(why=why, fix=name_an_instance(node))
    if lost is not None and wanted is None:
        return Hidden(why=f"GPU {lost.index} is lost: {lost.lost}", fix=step_to_a_gpu(node))
    return names_none(node, wanted or "")


def _devices(node: Node, gpus: Sequence[Gpu]) -> tuple[Device, ...]:
    whole = {gpu.index: gpu for gpu in node.gpus}
    return tuple(
        Device(
            id=_id(whole[gpu.index], gpu),
            kind=CUDA_KIND,
            index=gpu.index,
            uuid=gpu.uuid,
            serial=gpu.serial,
            name=gpu.name,
            memory=node.memory.total if gpu.unified else gpu.memory_total,
            compute_capability=gpu.compute_capability,
        )
        for gpu in gpus
    )


def _id(whole: Gpu, gpu: Gpu) -> str:
    if gpu.uuid == whole.uuid:
        return f"gpu{gpu.index}"
    place = next(number for number, part in enumerate(whole.instances) if part.uuid == gpu.uuid)
    return f"gpu{gpu.index}.{place}"


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
