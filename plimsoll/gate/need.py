"""What a variant needs of a node, from its entry and its prediction.

Apart from the gate, so that a decision can be tested with other needs, and so that the allowances beyond the prediction
stand in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Quantization, Variant, WeightSource
from plimsoll.catalogue.settings import may_offload
from plimsoll.footprint.demand import Demand, is_spread
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import Obstacle, Prediction, Workload
from plimsoll.footprint.reference import ReferenceNeed, reference_need, reference_place

HOST_ALLOWANCE: Final = 2**30
"""Bytes of RAM beyond the model: a fork server with torch and transformers imported takes 0.4e9 and a host 0.03e9
(measured on a CPU); the rest is room for texts and allocator slack."""

CONTEXT_ALLOWANCE: Final = 2**30
"""Bytes that a CUDA context takes on each GPU, with the workspaces of its libraries: 0.3e9 to 1e9, depending on GPU and
driver."""

CONTEXT_LEAST: Final = 300 * 10**6
"""Bytes of the smallest CUDA context that was seen."""

_LOADERS: Final = ("torch", "transformers", "tokenizers", "safetensors", "accelerate")

_LEAST_CAPABILITY: Final = {Quantization.INT8: "7.5", Quantization.NF4: "6.0", Quantization.NF4_DQ: "6.0"}
"""Compute capabilities that bitsandbytes documents for its CUDA kernels (installation guide, 0.48 and 0.50)."""

_ATTENTION_PACKAGES: Final = {"flash_attention_2": "flash-attn", "flash_attention_3": "flash-attn-3"}
"""The distributions with kernels of attention implementations that are not part of torch."""

_ATTENTION_CAPABILITY: Final = {
    "flash_attention_2": "8.0",
    "flash_attention_3": "9.0",
    "flash_attention_4": "9.0",
    "flex_attention": "7.0",
}
"""Compute capabilities that their kernels need: flash-attn for Ampere or newer, version 3 for Hopper (its README);
flex_attention is compiled by Triton, for Volta or newer."""

_FLASH: Final = "flash_attention"

_GOLDEN_BYTES: Final = 2**26
"""More than the largest golden model takes while it is made, loaded and run: 1.9 million parameters in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a node must have before a variant is loaded; sizes in bytes. None is a size that was not predicted, which no
    node satisfies."""

    device: str
    """`cpu` or `cuda`."""
    packages: tuple[str, ...]
    ram: int | None
    disk: int | None
    vram: Mapping[int, int] | int | None = None
    """For each GPU, by CUDA's number; a single number is for all GPUs that CUDA sees together."""
    vram_context: int = 0
    """For each GPU that is used, on top of its part of `vram`."""
    scratch: int = 0
    """Bytes of disk for temporary files while the model is compared with bf16."""
    offloaded: int = 0
    """Bytes of weights that the planner would put on the CPU or on a disk, because the GPUs together are too small."""
    obstacle: Obstacle | None = None
    """Why the architecture cannot be run as the entry asks, on any machine."""
    bf16: bool = False
    min_capability: str | None = None
    """Least compute capability, `7.5`."""
    attention: str = ""
    """The attention implementation, where it has kernels only for GPUs."""
    attention_capability: str | None = None
    """The least compute capability for `attention`."""
    source: WeightSource
    moves: bool = True
    """False where the CPU cannot replace the GPU, because that GPU itself is checked."""
    gated: bool = False


def suite_workload(variant: Variant) -> Workload:
    """The largest workload of the suite's own checks: 32 short prompts at once, answered to the end."""
    return Workload(batch=32, prompt=128, new=variant.model.generation.max_new_tokens)


def need_of(variant: Variant, demand: Demand | None, workload: Workload | None = None) -> Need:
    """The need of a variant; without a demand the sizes are unknown, and only its packages can be checked. `workload`
    is what must fit once it is loaded, None for the suite's own. For a variant that is spread over GPUs by an unknown
    plan, the GPUs together need the sum.
    """
    on_gpu = variant.tier.device == "cuda"
    peaks = None if demand is None else demand.at(workload or suite_workload(variant))
    reference = None if demand is None else reference_need(variant, demand.prediction)
    if peaks is not None and reference is not None and workload is None:
        peaks = _with_reference(peaks, reference, reference_place(variant))
    return Need(
        device=variant.tier.device,
        packages=_packages(variant),
        ram=None if peaks is None else peaks[RAM] + HOST_ALLOWANCE,
        disk=None if demand is None else checkpoint_bytes(variant, demand.prediction),
        vram=_vram(variant, demand, peaks) if on_gpu else None,
        vram_context=CONTEXT_ALLOWANCE if on_gpu else 0,
        scratch=0 if reference is None else reference.disk,
        offloaded=0 if demand is None or may_offload(variant.load_options) else demand.offloaded,
        obstacle=_of_attention(variant) or (None if demand is None else demand.prediction.obstacle),
        bf16=variant.dtype == "bfloat16",
        min_capability=_LEAST_CAPABILITY.get(variant.quantization),
        attention=variant.attention if variant.attention in _ATTENTION_CAPABILITY else "",
        attention_capability=_ATTENTION_CAPABILITY.get(variant.attention),
        source=variant.model.source,
        gated=variant.model.gated,
    )


def _of_attention(variant: Variant) -> Obstacle | None:
    """The obstacle of flash attention in float32: its kernels compute only in 16 bits, on any machine."""
    if not variant.attention.startswith(_FLASH) or variant.dtype != "float32":
        return None
    return Obstacle(
        have=f"{variant.attention} with weights in float32",
        need="float16 or bfloat16: kernels of flash attention compute in 16 bits alone",
        fix='choose bf16 or fp16, or attention = "sdpa"',
    )


def _packages(variant: Variant) -> tuple[str, ...]:
    """The distributions that a load of a variant needs."""
    found = [*_LOADERS]
    if variant.quantization.is_quantized:
        found.append("bitsandbytes")
    if variant.attention in _ATTENTION_PACKAGES:
        found.append(_ATTENTION_PACKAGES[variant.attention])
    if variant.model.source is WeightSource.LOCAL and variant.model.path is not None:
        found += tokenizer_packages(variant.model.path)
    return tuple(found)


def tokenizer_packages(folder: Path) -> tuple[str, ...]:
    """The packages that a checkpoint's tokenizer needs besides transformers: a sentencepiece model without a fast
    tokenizer must be converted."""
    alone = (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file()
    return ("sentencepiece",) if alone else ()


def golden_need(device: str, quantization: Quantization) -> Need:
    """The need of a golden model, on `cpu` or `cuda:0`: a few megabytes, so only the allowances matter."""
    need = device_need(device, _GOLDEN_BYTES, quantized=quantization.is_quantized)
    return replace(
        need,
        disk=_GOLDEN_BYTES,
        bf16=quantization.compute_dtype == "bfloat16",
        min_capability=_LEAST_CAPABILITY.get(quantization),
    )


def device_need(device: str, size: int, *, quantized: bool = False) -> Need:
    """The need of a check of a device itself, `cpu` or `cuda:0`, that takes so many bytes there."""
    kind, _, number = device.partition(":")
    return Need(
        device=kind,
        packages=(*_LOADERS, "bitsandbytes") if quantized else _LOADERS,
        ram=HOST_ALLOWANCE + (size if kind == "cpu" else 0),
        disk=0,
        vram={int(number): size} if kind == "cuda" else None,
        vram_context=CONTEXT_ALLOWANCE if kind == "cuda" else 0,
        source=WeightSource.SYNTHETIC,
        moves=False,
    )


def _with_reference(peaks: Mapping[int, int], reference: ReferenceNeed, place: int) -> Mapping[int, int]:
    """The most that the model or its bf16 reference takes in each place: the two are never there at once."""
    more = {place: reference.on_device, **({} if place == RAM else {RAM: reference.ram})}
    return {each: max(peaks.get(each, 0), more.get(each, 0)) for each in peaks.keys() | more.keys()}


def _vram(variant: Variant, demand: Demand | None, peaks: Mapping[int, int] | None) -> Mapping[int, int] | int | None:
    if demand is None or peaks is None:
        return None
    on_gpus = {place: size for place, size in peaks.items() if place != RAM}
    return on_gpus if demand.placed or not is_spread(variant) else sum(on_gpus.values())


def checkpoint_bytes(variant: Variant, prediction: Prediction) -> int:
    """Bytes that must be written to disk first: checkpoints from the Hub and trained ones have 16 bits a parameter."""
    written = variant.model.source in (WeightSource.HUB, WeightSource.TRAINED)
    return 2 * prediction.footprint.parameter_count if written else 0
