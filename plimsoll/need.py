"""What a variant needs of a node, from its entry and its predicted footprint.

Kept apart from the gate, so that a decision can be tried with other needs, and so that one place holds the allowances
that go beyond the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization, Variant, WeightSource
from plimsoll.footprint.footprint import Footprint

HOST_ALLOWANCE: Final = 2**30
"""Bytes of RAM beyond the model: a fork server with torch and transformers imported takes 0.4e9 and a host 0.03e9
(measured on a CPU); the rest is room for prompts, logits and allocator slack."""

CONTEXT_ALLOWANCE: Final = 2**30
"""Bytes that a CUDA context takes on each GPU: 0.3e9 to 1e9, depending on GPU and driver."""

_LOADING_THREADS: Final = 4
"""Tensors that transformers holds at once while it loads; with quantization on the fly it is one."""

_LOADERS: Final = ("torch", "transformers", "tokenizers", "safetensors", "accelerate")
_SPREADING: Final = ("auto", "balanced", "balanced_low_0", "sequential")
_RAM: Final = -1
"""Stands for RAM where other places are CUDA's numbers."""

_LEAST_CAPABILITY: Final = {Quantization.INT8: "7.5", Quantization.NF4: "6.0", Quantization.NF4_DQ: "6.0"}
"""Compute capabilities that bitsandbytes documents for its CUDA kernels (installation guide, 0.48 and 0.50)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What must be there before a variant is loaded; sizes in bytes. None is a size that was not predicted, which no
    node satisfies."""

    device: str
    """`cpu` or `cuda`."""
    packages: tuple[str, ...]
    ram: int | None
    disk: int | None
    vram: Mapping[int, int] | int | None = None
    """On each GPU, by CUDA's numbers; a plain number is spread over all GPUs that CUDA sees."""
    vram_context: int = 0
    """On each GPU that is used, beside its part of `vram`."""
    bf16: bool = False
    min_capability: str | None = None
    """Least compute capability, `7.5`."""
    source: WeightSource
    gated: bool = False


def need_of(variant: Variant, footprint: Footprint | None) -> Need:
    """The need of a variant; without a footprint the sizes are unknown, and only its packages can be checked."""
    on_gpu = variant.tier.device == "cuda"
    sizes = None if footprint is None else _placed_bytes(variant, footprint)
    return Need(
        device=variant.tier.device,
        packages=(*_LOADERS, "bitsandbytes") if variant.quantization.is_quantized else _LOADERS,
        ram=None if sizes is None else sizes[_RAM] + HOST_ALLOWANCE,
        disk=None if footprint is None else _checkpoint_bytes(variant, footprint),
        vram=_vram(variant, sizes) if on_gpu else None,
        vram_context=CONTEXT_ALLOWANCE if on_gpu else 0,
        bf16=variant.quantization.compute_dtype == "bfloat16",
        min_capability=_LEAST_CAPABILITY.get(variant.quantization),
        source=variant.model.source,
        gated=variant.model.gated,
    )


def _vram(variant: Variant, sizes: Mapping[int, int] | None) -> Mapping[int, int] | int | None:
    if sizes is None:
        return None
    on_gpus = {place: size for place, size in sizes.items() if place != _RAM}
    return sum(on_gpus.values()) if variant.device_map in _SPREADING else on_gpus


def _placed_bytes(variant: Variant, footprint: Footprint) -> Counter[int]:
    """Bytes by CUDA number, or `_RAM`: the stored weights, and wherever some go, the tensors held while loading.

    All tensors pass through RAM on their way, so their part of it is counted in any case.
    """
    sizes: Counter[int] = Counter()
    for part in (*footprint.parameters, *footprint.buffers):
        sizes[_place_of(part.name, variant)] += part.data_bytes + part.statistics_bytes
    threads = 1 if variant.quantization.is_quantized else _LOADING_THREADS
    wider = 2 if variant.quantization is Quantization.FP32 else 1
    for place in {*sizes, _RAM}:
        sizes[place] += footprint.largest_parameter_bytes * threads * wider
    return sizes


def _place_of(name: str, variant: Variant) -> int:
    """Where a parameter goes: by the longest prefix of its name that the device map has, else the tier's device."""
    if variant.tier.device == "cpu":
        return _RAM
    device_map = variant.device_map
    if isinstance(device_map, Mapping):
        prefixes = [key for key in device_map if not key or name == key or name.startswith(f"{key}.")]
        return _number(device_map[max(prefixes, key=len)]) if prefixes else 0
    return 0 if device_map is None or device_map in _SPREADING else _number(device_map)


def _number(place: str | int) -> int:
    """`1`, `"cuda:1"` and `"cuda"` by CUDA's number. Anything else counts as RAM, `disk` too: offloaded weights come
    back through it."""
    if isinstance(place, int):
        return place
    kind, _, number = place.partition(":")
    return int(number or 0) if kind == "cuda" else _RAM


def _checkpoint_bytes(variant: Variant, footprint: Footprint) -> int:
    """What must be written to disk first: checkpoints are 16 bits a parameter, from the Hub and trained ones alike."""
    written = variant.model.source in (WeightSource.HUB, WeightSource.TRAINED)
    return 2 * footprint.parameter_count if written else 0
