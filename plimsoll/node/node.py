"""The node: the probed machine, as plain frozen values that go to evidence and back unchanged.

A figure that could not be read is None, and `unread` names it with the reason; no figure is ever zero for lack of an
answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Something that could not be read, and why."""

    what: str
    why: str
    code: int | None = None
    """NVML's number for the error (`NVML_ERROR_*`), where NVML gave no answer: the next step depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor as the operating system names it; the counts are what this process may use."""

    model: str | None
    architecture: str
    physical_cores: int | None
    logical_cores: int
    features: tuple[str, ...]
    """Instruction sets that change numerics or speed here: `avx2`, `avx512f`, `avx512_bf16`, `amx_bf16`, ..."""
    quota: float | None = None
    """CPU time that the control group grants (`cpu.max`), in CPUs: `0.5` is half of one; `logical_cores` respects it.
    None for no quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of RAM. `limit` is the control group's where one is set, and `total` and `available` respect it."""

    total: int
    available: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system where weights would land; bytes."""

    path: str
    filesystem: str | None
    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigInstance:
    """A part of a split GPU (MIG), which CUDA treats as a GPU; bytes, None where NVML gave no answer."""

    uuid: str
    """`MIG-...`, by which `CUDA_VISIBLE_DEVICES` names it."""
    name: str | None
    memory_total: int | None
    memory_free: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as NVML reports it; bytes. None where NVML gave no answer (`Node.unread` says why)."""

    index: int
    name: str | None
    uuid: str | None
    serial: str | None
    vbios: str | None
    memory_total: int | None
    memory_free: int | None
    compute_capability: str | None
    mig: bool | None
    """True where the device is split (MIG); its figures are then those of the whole device."""
    instances: tuple[MigInstance, ...] = ()
    """The parts of a split device that this process may see, in NVML's order."""
    unified: bool = False
    """True where the GPU has no memory of its own and uses the machine's RAM, of which NVML gives no figure."""
    lost: str | None = None
    """NVML's error for a GPU that the driver lists but that no longer answers; None for one that answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An accelerator other than NVIDIA's, which the suite names but does not use; None for unknown values."""

    kind: str
    """`rocm`, `mps` or `xpu`, as torch names them."""
    name: str
    uuid: str | None = None
    memory: int | None = None
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine at one moment."""

    hostname: str
    system: str
    kernel: str
    python: str
    cpu: Cpu
    memory: Memory
    disk: Disk
    gpus: tuple[Gpu, ...]
    driver: str | None
    cuda: str | None
    """The highest CUDA version that the driver supports, `13.0`."""
    packages: Mapping[str, str | None]
    """Distribution name -> installed version; None where it is not installed."""
    torch_cuda: str | None = None
    """The CUDA version that the installed torch was built for, `13.0`; None where it was built without CUDA, or is not
    installed."""
    environment: Mapping[str, str]
    """Variables that change what is loaded or measured; the values of secrets are masked."""
    unread: tuple[Unread, ...]
    accelerators: tuple[Accelerator, ...] = ()
    """AMD's, Apple's and Intel's."""

    def why_unread(self, what: str) -> str:
        """Why a figure is None, by its dotted name (`gpus[0].memory`); a fixed text where the probe left no reason."""
        return next((entry.why for entry in self.unread if entry.what == what), "the probe gives no reason")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises KeyError or TypeError when a field is missing or unknown."""
        cpu = Cpu(**{**data["cpu"], "features": tuple(data["cpu"]["features"])})
        return cls(
            **{
                **data,
                "cpu": cpu,
                "memory": Memory(**data["memory"]),
                "disk": Disk(**data["disk"]),
                "gpus": tuple(_gpu_from_json(gpu) for gpu in data["gpus"]),
                "unread": tuple(Unread(**entry) for entry in data["unread"]),
                "accelerators": tuple(Accelerator(**each) for each in data.get("accelerators", ())),
            }
        )


@cache
def node_schema() -> TypeAdapter[Node]:
    """What checks the types of a node's figures. It is made once, for to make it takes longer than to read a run."""
    # Imported here, because pydantic's import would take half the time of a plain probe.
    from pydantic import TypeAdapter

    return TypeAdapter(Node)


def _gpu_from_json(data: Mapping[str, Any]) -> Gpu:
    return Gpu(**{**data, "instances": tuple(MigInstance(**part) for part in data.get("instances", ()))})
