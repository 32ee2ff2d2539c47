"""What a variant needs of a node, from its entry and its prediction.

Kept apart from the gate, so that a decision can be tried with other needs, and so that one place holds the allowances
that go beyond what is predicted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization, Variant, WeightSource
from plimsoll.footprint.load_peak import RAM, load_peaks
from plimsoll.footprint.prediction import Prediction, Workload

HOST_ALLOWANCE: Final = 2**30
"""Bytes of RAM beyond the model: a fork server with torch and transformers imported takes 0.4e9 and a host 0.03e9
(measured on a CPU); the rest is room for texts and allocator slack."""

CONTEXT_ALLOWANCE: Final = 2**30
"""Bytes that a CUDA context takes on each GPU, with the workspaces of its libraries: 0.3e9 to 1e9, depending on GPU and
driver."""

CONTEXT_LEAST: Final = 300 * 10**6
"""Bytes below which no context was seen."""

_LOADERS: Final = ("torch", "transformers", "tokenizers", "safetensors", "accelerate")
_SPREADING: Final = ("auto", "balanced", "balanced_low_0", "sequential")

_LEAST_CAPABILITY: Final = {Quantization.INT8: "7.5", Quantization.NF4: "6.0", Quantization.NF4_DQ: "6.0"}
"""Compute capabilities that bitsandbytes documents for its CUDA kernels (installation guide, 0.48 and 0.50)."""

Placement = Mapping[str, str | int]
"""Where each part of a model goes, by the beginnings of its parameters' names: a CUDA number, `cpu` or `disk`."""


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
    offloaded: int = 0
    """Bytes of weights that the planner would put on the CPU or on a disk though the entry leaves it the choice: the
    GPUs are too small together."""
    bf16: bool = False
    min_capability: str | None = None
    """Least compute capability, `7.5`."""
    source: WeightSource
    gated: bool = False


def suite_workload(variant: Variant) -> Workload:
    """The most that the suite's own questions ask of a variant at once: 32 short prompts, answered to the end."""
    return Workload(batch=32, prompt=128, new=variant.model.generation.max_new_tokens)


def is_spread(variant: Variant) -> bool:
    """True where the entry leaves it to the planner which GPU holds which part."""
    return isinstance(variant.device_map, str) and variant.device_map in _SPREADING


def need_of(
    variant: Variant,
    prediction: Prediction | None,
    *,
    placement: Placement | None = None,
    workload: Workload | None = None,
) -> Need:
    """The need of a variant; without a prediction the sizes are unknown, and only its packages can be checked.

    `placement` is the planner's for a variant that is spread over GPUs; without it, the GPUs are asked for the sum.
    `workload` is what it must have room for once it is loaded, None for what the suite asks. Where a prediction has no
    cache and activations, there is only the load's peak to go by.
    """
    on_gpu = variant.tier.device == "cuda"
    place_of = _placing(variant, placement)
    peaks = None
    if prediction is not None:
        peaks = peak_by_place(prediction, variant.quantization, place_of, workload or suite_workload(variant))
    return Need(
        device=variant.tier.device,
        packages=(*_LOADERS, "bitsandbytes") if variant.quantization.is_quantized else _LOADERS,
        ram=None if peaks is None else peaks[RAM] + HOST_ALLOWANCE,
        disk=None if prediction is None else checkpoint_bytes(variant, prediction),
        vram=_vram(variant, peaks, placement) if on_gpu else None,
        vram_context=CONTEXT_ALLOWANCE if on_gpu else 0,
        offloaded=_offloaded(prediction, placement) if prediction is not None and placement is not None else 0,
        bf16=variant.quantization.compute_dtype == "bfloat16",
        min_capability=_LEAST_CAPABILITY.get(variant.quantization),
        source=variant.model.source,
        gated=variant.model.gated,
    )


def peak_by_place(
    prediction: Prediction, quantization: Quantization, place_of: Callable[[str], int], workload: Workload
) -> Mapping[int, int]:
    """The most bytes in use on each place, by CUDA's numbers and RAM: while loading, or at the workload."""
    peaks = Counter(load_peaks(prediction.footprint, quantization, place_of))
    held: Counter[int] = Counter()
    for part in (*prediction.footprint.parameters, *prediction.footprint.buffers):
        held[place_of(part.name)] += part.data_bytes + part.statistics_bytes
    for place, running in _running_by_place(prediction, place_of, workload).items():
        peaks[place] = max(peaks[place], held[place] + running)
    return peaks


def _running_by_place(prediction: Prediction, place_of: Callable[[str], int], workload: Workload) -> Mapping[int, int]:
    """Bytes beside the weights on each place that holds a layer: what its own layers cache, and the activations of the
    moment, which wander from place to place."""
    whole = prediction.running_bytes(workload)
    if prediction.cache is None or prediction.activations is None or whole is None:
        return {}
    tokens = workload.prompt + workload.new
    cached: Counter[int] = Counter()
    for layer in prediction.cache.layers:
        cached[place_of(f"{layer.module}.")] += workload.batch * layer.held(tokens)
    if len(cached) == 1:
        return dict.fromkeys(cached, whole)
    moment = max(
        prediction.activations.of_prompt(workload.batch, workload.prompt, all_logits=workload.all_logits),
        prediction.activations.of_token(workload.batch, tokens),
    )
    return {place: size + moment for place, size in cached.items()}


def _vram(
    variant: Variant, peaks: Mapping[int, int] | None, placement: Placement | None
) -> Mapping[int, int] | int | None:
    if peaks is None:
        return None
    on_gpus = {place: size for place, size in peaks.items() if place != RAM}
    return sum(on_gpus.values()) if is_spread(variant) and placement is None else on_gpus


def _offloaded(prediction: Prediction, placement: Placement) -> int:
    parts = (*prediction.footprint.parameters, *prediction.footprint.buffers)
    return sum(p.data_bytes + p.statistics_bytes for p in parts if _number(_entry(p.name, placement)) == RAM)


def _placing(variant: Variant, placement: Placement | None) -> Callable[[str], int]:
    """Where a parameter goes: by the longest prefix of its name that the device map has, else the tier's device."""
    device_map = variant.device_map if placement is None else placement
    if variant.tier.device == "cpu":
        return lambda _: RAM
    if isinstance(device_map, Mapping):
        return lambda name: _number(_entry(name, device_map))
    place = 0 if device_map is None or is_spread(variant) else _number(device_map)
    return lambda _: place


def _entry(name: str, device_map: Placement) -> str | int:
    prefixes = [key for key in device_map if not key or name == key or name.startswith(f"{key}.")]
    return device_map[max(prefixes, key=len)] if prefixes else 0


def _number(place: str | int) -> int:
    """`1`, `"cuda:1"` and `"cuda"` by CUDA's number. Anything else counts as RAM, `disk` too: offloaded weights come
    back through it."""
    if isinstance(place, int):
        return place
    kind, _, number = place.partition(":")
    return int(number or 0) if kind == "cuda" else RAM


def checkpoint_bytes(variant: Variant, prediction: Prediction) -> int:
    """What must be written to disk first: checkpoints are 16 bits a parameter, from the Hub and trained ones alike."""
    written = variant.model.source in (WeightSource.HUB, WeightSource.TRAINED)
    return 2 * prediction.footprint.parameter_count if written else 0
