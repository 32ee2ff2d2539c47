"""The rungs of the ladder: which settings are tried, in which order.

The order is the one in which a person would go about it: first whether the weights can be read at all, on the processor
in float32; then on the device, eager attention in bfloat16, which is what most checkpoints are in; float16, where the
device has no bfloat16; with limits for what each device may hold; and last with what does not fit on a disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.overrides import configured
from plimsoll.catalogue.settings import LoadSettings, settings_of

DRY_RUN: Final = "cpu-fp32"
BF16: Final = "bf16"
FP16: Final = "fp16"
LIMITED: Final = "max-memory"
OFFLOADED: Final = "offload"
RUNGS: Final = (DRY_RUN, BF16, FP16, LIMITED, OFFLOADED)
TOKENS: Final = 10
"""New tokens by which a rung is validated."""

_LEFT: Final = 0.7
"""The part of a device's free memory that weights may take on the limited rung: the rest is for the cache, the
activations and the context, which the planner does not reckon with."""
_OF_RAM: Final = 0.8
_ON_DEVICE: Final = 0.5
_IN_RAM: Final = 0.25
"""Parts of the weights that stay on the device and in RAM on the last rung; the rest goes to a disk."""
_EAGER: Final = "eager"
_PLACING: Final = ("device_map", "max_memory", "offload_folder", "offload_buffers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The memory that rungs are cut to, in bytes."""

    gpus: tuple[int, ...]
    """Free on each GPU that CUDA sees; empty where the processor is the device."""
    ram: int
    """Available, or what a host may take where that is limited."""
    weights: int | None
    """Of the model in 16 bits, or packed as it is to be; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to load a model."""

    id: str
    title: str
    device: str
    """`cpu` or `cuda`."""
    settings: LoadSettings

    @property
    def is_dry_run(self) -> bool:
        """True for the rung that says whether the weights can be read, and not how they are best used."""
        return self.id == DRY_RUN

    @property
    def is_planned(self) -> bool:
        """True where the planner places the weights within limits, so that they need not fit on the device."""
        return "max_memory" in self.settings.load_options


def rung(name: str, device: str, room: Room, dtype: str, scratch: str, given: Mapping[str, Any]) -> Rung:
    """The rung of a name. `dtype` is what the last two compute in, `scratch` a folder for what goes to a disk, `given`
    settings of the user's own, which are over all rungs; those of places are not for the dry run."""
    titles = {
        DRY_RUN: "the processor, float32",
        BF16: f"{_named(device)}, bfloat16, eager attention",
        FP16: f"{_named(device)}, float16, eager attention",
        LIMITED: f"{_named(device)}, limits for what each place holds, {dtype}",
        OFFLOADED: f"{_named(device)}, the rest in RAM and on a disk, {dtype}",
    }
    plain: dict[str, dict[str, Any]] = {
        DRY_RUN: {"dtype": "float32", "device_map": "cpu"},
        BF16: {"dtype": "bfloat16"},
        FP16: {"dtype": "float16"},
        LIMITED: {"dtype": dtype, "device_map": "auto", "max_memory": _limits(room)},
        OFFLOADED: {"dtype": dtype, "device_map": "auto", "max_memory": _parts(room), "offload_folder": scratch},
    }
    own = {key: value for key, value in given.items() if name != DRY_RUN or key not in _PLACING}
    if "device_map" in own and not isinstance(own["device_map"], str):
        plain[name].pop("max_memory", None)
    settings = settings_of({"attn_implementation": _EAGER, **plain[name], **own}, name, pinned=False)
    return Rung(id=name, title=titles[name], device="cpu" if name == DRY_RUN else device, settings=settings)


def _named(device: str) -> str:
    return "the GPU" if device == "cuda" else "the processor"


def _limits(room: Room) -> dict[str, int]:
    limits = {str(number): int(free * _LEFT) for number, free in enumerate(room.gpus)}
    return {**limits, "cpu": int(room.ram * _OF_RAM)}


def _parts(room: Room) -> dict[str, int]:
    """Limits that do not hold all of the weights, so that a disk really takes a part."""
    if room.weights is None:
        return {name: size // 2 for name, size in _limits(room).items()}
    each = int(room.weights * _ON_DEVICE / max(1, len(room.gpus)))
    on_gpus = {str(number): min(each, int(free * _LEFT)) for number, free in enumerate(room.gpus)}
    in_ram = _IN_RAM if room.gpus else _ON_DEVICE
    return {**on_gpus, "cpu": min(int(room.weights * in_ram), int(room.ram * _OF_RAM))}


def variant_on(base: Variant, step: Rung) -> Variant:
    """The variant that a rung loads: the entry's own, with the rung's settings over it."""
    tier = base.tier if base.tier.device == step.device else replace(base.tier, device=step.device)
    options = {name: value for name, value in base.load_options.items() if name not in _PLACING}
    plain = replace(base, tier=tier, device_map=None, load_options=options, claims=())
    changed = configured(plain, step.settings)
    return replace(changed, id=f"{base.model.id}/{step.id}", claims=())


def best_dtype(failed_numbers: Sequence[str], unsupported: Sequence[str]) -> str:
    """The dtype for rungs that differ in where weights lie: bfloat16, unless it is what failed."""
    out = {*failed_numbers, *unsupported}
    return next((dtype for dtype in ("bfloat16", "float16", "float32") if dtype not in out), "bfloat16")


def weight_bytes(quantization: Quantization, sixteen: int | None, dtype: str) -> int | None:
    """Bytes of weights in a dtype, from those in 16 bits; of packed ones they hardly depend on it."""
    if sixteen is None:
        return None
    return sixteen * 2 if dtype == "float32" and not quantization.is_quantized else sixteen
