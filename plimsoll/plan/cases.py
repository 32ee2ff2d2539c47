"""Lists the cases of checks with parameters of their own: speeds, golden models and bits of each device, and ways to
train each variant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.golden import read_agreement, read_golden
from plimsoll.footprint.training import DEFAULT_BRIDGE, DEFAULT_RANK, Mode, Training
from plimsoll.node.devices import CPU_KIND, Device

DTYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "cpu": ("fp32", "bf16", "fp16", "int8"),
    "cuda": ("bf16", "fp16", "tf32", "fp8", "int8"),
}
"""The dtypes whose products are timed, by the kind of the device."""

_LEAST_CAPABILITY: Final = {"bf16": (8, 0), "tf32": (8, 0), "fp8": (8, 9), "int8": (7, 5), "fp16": (7, 0)}
"""The first compute capability with units for these products (CUDA C++ Programming Guide, tensor cores)."""

TRANSFERS: Final[Mapping[str, tuple[bool, bool]]] = {
    "to-device-pinned": (True, True),
    "from-device-pinned": (False, True),
    "to-device-pageable": (True, False),
    "from-device-pageable": (False, False),
}
"""The transfers of `link_rate`: whether to the device, and whether with pinned RAM."""

MEMORY: Final = "memory"
"""The name for the speed of a device's own memory, beside dtypes and transfers."""

_SOAKED: Final = (("cpu", "small"), ("cuda", "wide"))
"""The model that each kind of device runs for a soak, in bf16: the widest that it runs."""
_BRIDGE: Final = {CPU_KIND: 2**14}
"""Parameters of a tiny model's bridge; a large model has the bridge of the documents."""
_LENGTH: Final = {CPU_KIND: 96}
"""Tokens of a step by the kind of device, where it is not the usual length."""
_LONG: Final = 1536
"""Tokens of a step anywhere else."""
_BATCH: Final = 2
STEPS: Final = 5
RATES: Final = {Mode.FULL: 1e-3, Mode.LORA: 3e-3, Mode.BRIDGE: 3e-3}
"""Learning rates with which a few steps on one text lower the loss visibly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One golden model in one dtype or scheme on one device."""

    device: Device
    family: str
    quantization: Quantization

    @property
    def id(self) -> str:
        """The parameter's id, in a variant's form: `cpu-llama/nf4`, `gpu0-llama/nf4`."""
        return f"{self.device.id}-{self.family}/{self.quantization}"

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks that select it, besides those of its tiers."""
        return (self.family, self.quantization.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCase:
    """One speed of a device, with the other devices that take part or that it is compared with."""

    device: Device
    of: str
    others: tuple[Device, ...] = ()

    @property
    def id(self) -> str:
        """The parameter's id: `gpu3-bf16`."""
        return f"{self.device.id}-{self.of}"

    @property
    def marks(self) -> tuple[str, ...]:
        """None, besides those of its tiers."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BitsCase:
    """A model of `plimsoll.catalogue.golden` in one form on one device, and the devices that must agree with it."""

    device: Device
    model: str
    quantization: Quantization
    others: tuple[Device, ...] = ()

    @property
    def id(self) -> str:
        """The parameter's id, in a variant's form: `gpu3-wide/nf4-dq`."""
        return f"{self.device.id}-{self.model}/{self.quantization}"

    @property
    def marks(self) -> tuple[str, ...]:
        """The mark that selects it, besides those of its tiers."""
        return (self.quantization.value,)


Case = GoldenCase | DeviceCase | BitsCase


def golden_cases(device: Device, _devices: Sequence[Device]) -> Iterator[GoldenCase]:
    """Every golden model in every dtype and scheme."""
    for family, quantization in product(read_golden().models, Quantization):
        yield GoldenCase(device=device, family=family, quantization=quantization)


def matmul_cases(device: Device, _devices: Sequence[Device]) -> Iterator[DeviceCase]:
    """Products in every dtype that the device has units for."""
    for dtype in dtypes_of(device):
        yield DeviceCase(device=device, of=dtype)


def transfer_cases(device: Device, _devices: Sequence[Device]) -> Iterator[DeviceCase]:
    """Transfers between RAM and a GPU; a processor has none."""
    if device.kind != CPU_KIND:
        for transfer in TRANSFERS:
            yield DeviceCase(device=device, of=transfer)


def peer_cases(device: Device, devices: Sequence[Device]) -> Iterator[DeviceCase]:
    """Copies from each of several GPUs to all others. Not for instances of split GPUs: a process sees only one, and
    they are not linked."""
    others = tuple(other for other in devices if other != device and not other.is_instance)
    if device.kind != CPU_KIND and not device.is_instance and others:
        yield DeviceCase(device=device, of=f"{len(others)}-others", others=others)


def rank_cases(device: Device, devices: Sequence[Device]) -> Iterator[DeviceCase]:
    """One sum over all GPUs where there are several, and over two processes on a processor, so that the same code runs
    there."""
    if device.kind == CPU_KIND:
        yield DeviceCase(device=device, of="2-processes", others=(device,))
        return
    # NCCL refuses two ranks on one GPU, and so on instances of a split one.
    whole = [one for one in devices if not one.is_instance]
    if len(whole) > 1 and device == whole[0]:
        yield DeviceCase(device=device, of=f"{len(whole)}-gpus", others=tuple(whole[1:]))


def alike_cases(device: Device, devices: Sequence[Device]) -> Iterator[DeviceCase]:
    """The speeds of products and memory of each GPU, compared with the others of its product."""
    if others := _same_product(device, devices):
        for of in (dtypes_of(device)[0], MEMORY):
            yield DeviceCase(device=device, of=of, others=others)


def bits_cases(device: Device, _devices: Sequence[Device]) -> Iterator[BitsCase]:
    """Every model that a device of this kind runs, in every form."""
    agreement = read_agreement()
    for model, quantization in product(agreement.models.values(), agreement.quantizations):
        if device.kind in model.devices:
            yield BitsCase(device=device, model=model.id, quantization=quantization)


def same_bits_cases(device: Device, devices: Sequence[Device]) -> Iterator[BitsCase]:
    """The bits cases for each of several GPUs of a product, which must agree."""
    if others := _same_product(device, devices):
        for case in bits_cases(device, devices):
            yield BitsCase(device=device, model=case.model, quantization=case.quantization, others=others)


def soak_cases(device: Device, _devices: Sequence[Device]) -> Iterator[BitsCase]:
    """The model that a device runs for a soak."""
    yield BitsCase(device=device, model=dict(_SOAKED)[device.kind], quantization=Quantization.BF16)


def dtypes_of(device: Device) -> tuple[str, ...]:
    """The dtypes that a device has units for; all of its kind where its compute capability is unknown."""
    known = None if device.compute_capability is None else tuple(map(int, device.compute_capability.split(".")))
    if device.kind == CPU_KIND or known is None:
        return DTYPES[device.kind]
    return tuple(dtype for dtype in DTYPES[device.kind] if known >= _LEAST_CAPABILITY[dtype])


def _same_product(device: Device, devices: Sequence[Device]) -> tuple[Device, ...]:
    """The other GPUs of the product; none for a processor, and for a GPU without a name."""
    if device.kind == CPU_KIND or device.name is None:
        return ()
    return tuple(other for other in devices if other != device and other.name == device.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCase:
    """One way to train one variant."""

    variant: Variant
    training: Training
    length: int
    batch: int = _BATCH

    @property
    def id(self) -> str:
        """The parameter's id; it begins like the variant's, so that `-k` selects both."""
        return f"{self.variant.id}-{self.training.mode}"


def replicated(variants: Iterable[Variant]) -> Variant | None:
    """The variant that several ranks train: the first tiny one in bf16, which fits every device; None for none."""
    return next(
        (one for one in variants if one.model.recipe is not None and one.quantization is Quantization.BF16), None
    )


def training_cases(variants: Iterable[Variant]) -> Iterator[TrainingCase]:
    """The cases of bf16 variants on one device, as in the documents: a bridge, LoRA, and for tiny models, which leave
    room for it on any machine, full training."""
    for variant in variants:
        if variant.quantization is not Quantization.BF16 or variant.device_map is not None:
            continue
        small = variant.model.recipe is not None
        kind = CPU_KIND if small else variant.tier.device
        sizes = {Mode.BRIDGE: _BRIDGE.get(kind, DEFAULT_BRIDGE), Mode.LORA: DEFAULT_RANK}
        if small:
            sizes[Mode.FULL] = 0
        for mode, size in sizes.items():
            training = Training(mode=mode, size=size)
            yield TrainingCase(variant=variant, training=training, length=_LENGTH.get(kind, _LONG))
