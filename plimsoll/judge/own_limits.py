"""Defines the suite's own limits, for metrics that neither an entry nor a document limits.

Limits on loads follow from the prediction and from speeds just measured on this node; limits on numerics follow from
the arithmetic of the scheme, as real models show it. docs/limits.md has the measurements and the derivation of each
limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import Speeds
from plimsoll.judge.judgement import Limit
from plimsoll.units import format_bytes

_PAGE: Final = "docs/limits.md"
_MIB: Final = 2**20
_GIB: Final = 2**30

_SLOWER: Final = 4.0
"""How many times the computed seconds a load may take: reading, copying and packing take turns, and tensors are
small."""
_SETTING_UP: Final = 20.0
"""Seconds that do not depend on the weights: importing code in a first load, building the model's skeleton."""
_COPIES: Final = {Quantization.INT8: 3.0}
"""How often weights cross the link to a GPU; bitsandbytes brings int8 back to RAM and to the GPU again."""

_RAM_BESIDE: Final = {"cpu": 512 * _MIB, "cuda": 4 * _GIB}
"""RAM beyond the prediction: imported code, and what allocators keep; CUDA takes gigabytes."""

_ABOVE_PREDICTED: Final = 1.02
_WORKSPACE: Final = 64 * _MIB

_KEPT_BY_LIBRARIES: Final = 128 * _MIB
"""Bytes on a GPU: cuBLAS and cuBLASLt take up to 32 MiB each per stream on the largest GPUs (torch's defaults), and
bitsandbytes has tables of a few KiB. Not measured on a GPU."""

_READ_AGAIN: Final = 20.0
"""How many times weights may be read for a token: packed weights are unpacked to memory and read from there, layer by
layer, by kernels that do not use its whole bandwidth."""
_A_LAYER: Final = {"cpu": 5.0, "cuda": 0.02}
"""Seconds that a layer may take whatever its size: some twenty kernel calls, a hundred for int8 and mixtures. On a
processor the check tests the code, not the speed: under load from others a layer of 5 ms took 0.8 s."""
_SURE_OF: Final = 1.05

_LAYERS: Final = 30
_WIDTH: Final = 576
"""Layers and hidden size of the model on which the limits on numerics were measured."""

_ROUNDING: Final[Mapping[Quantization, float]] = {
    Quantization.FP32: 0.001,
    Quantization.FP16: 0.05,
    Quantization.BF16: 0.25,
    Quantization.INT8: 1.5,
    Quantization.NF4: 0.35,
    Quantization.NF4_DQ: 0.35,
}
"""The most that logits may differ between two ways to compute the same, over their spread, at that depth."""

_DIVERGENCE: Final[Mapping[Quantization, float]] = {
    Quantization.FP32: 0.02,
    Quantization.FP16: 0.02,
    Quantization.INT8: 0.06,
    Quantization.NF4: 0.45,
    Quantization.NF4_DQ: 0.45,
}
"""The largest divergence of next-token distributions over plain English from those of bf16, in nats, at that width."""

_ANY_MODEL: Final = 1.2
_KNOWN_WITHIN: Final[Mapping[Quantization, float]] = {Quantization.NF4: 0.12, Quantization.NF4_DQ: 0.12}
"""How far a known value of `nll_per_byte` may be missed, as a fraction; four bits cost a small model about 6 %."""
_KNOWN_WITHIN_16_BIT: Final = 0.01


def load_time(metric: str, checkpoint: int, parameters: int, quantization: Quantization, speeds: Speeds) -> Limit:
    """The limit of a load time for a checkpoint of so many bytes: `cold_load_time` from disk, others from memory."""
    rate = speeds.disk if metric == "cold_load_time" else speeds.memory
    parts = {f"{_rate(rate)} from {'disk' if metric == 'cold_load_time' else 'the page cache'}": checkpoint / rate}
    if speeds.link is not None:
        parts[f"{_rate(speeds.link)} to the GPU"] = _COPIES.get(quantization, 1.0) * checkpoint / speeds.link
    if speeds.packing is not None:
        parts[f"{speeds.packing / 1e6:,.0f} million parameters a second packed"] = parameters / speeds.packing
    high = _SLOWER * sum(parts.values()) + _SETTING_UP
    return _own(metric, high=high, why=f"{_SLOWER:g} times what {', '.join(parts)} give, and {_SETTING_UP:g} s")


def ram(metric: str, predicted: int, device: str) -> Limit:
    """The limit of RAM: what is predicted, and what does not depend on the weights."""
    beside = _RAM_BESIDE[device]
    return _own(metric, high=predicted + beside, why=f"{format_bytes(predicted)} predicted, and {format_bytes(beside)}")


def vram_peak(held: int, load: int, gpus: int) -> Limit:
    """The limit of `vram_peak` over so many GPUs together: what is held once loaded, and the peak of loading. A caching
    allocator rounds each tensor up, and libraries for matrix products keep a workspace in it."""
    return Limit(
        metric="vram_peak",
        low=held,
        high=_ABOVE_PREDICTED * load + _WORKSPACE * gpus,
        source="predicted from the configuration, 2 % and 64 MiB a GPU",
    )


def vram_returned() -> Limit:
    """The limit of the bytes that torch may keep on one GPU after unloading: libraries for matrix products allocate
    workspaces through torch, a part of them before a load is measured."""
    why = f"workspaces of libraries, {format_bytes(_KEPT_BY_LIBRARIES)} a GPU"
    return _own("vram_returned", high=_KEPT_BY_LIBRARIES, why=why)


def rounding(metric: str, quantization: Quantization, layers: int) -> Limit:
    """The limit of `cache_divergence` and `batch_divergence`: noise adds up over layers like independent errors."""
    deeper = math.sqrt(max(1.0, layers / _LAYERS))
    return _own(metric, high=_ROUNDING[quantization] * deeper, why=f"rounding of {quantization} in {layers} layers")


def divergence(quantization: Quantization, width: int) -> Limit:
    """The limit of `quantized_divergence`: in a wider model the errors of more weights cancel."""
    narrower = min(1.0, math.sqrt(_WIDTH / max(1, width)))
    high = _DIVERGENCE[quantization] * narrower
    return _own("quantized_divergence", high=high, why=f"{quantization} at a hidden size of {width}")


def repetition(*, speaks: bool) -> Limit:
    """The limit of `repetition`: a base model that decodes greedily may run in circles without a fault."""
    if speaks:
        return _own("repetition", high=0.9, why="an instructed model does not run in circles")
    return _own("repetition", high=1.0, why="a base model that decodes greedily may run in circles")


def any_meaning() -> Limit:
    """The limit of `nll_per_byte` for any model that reads English."""
    return _own("nll_per_byte", high=_ANY_MODEL, why="plain English, for any model that reads it")


def known_meaning(known: float, quantization: Quantization) -> Limit:
    """The limit of `nll_per_byte` for a model whose value in bf16 is in its entry."""
    within = _KNOWN_WITHIN.get(quantization, _KNOWN_WITHIN_16_BIT)
    low, high = known * (1 - within), known * (1 + within)
    return Limit(metric="nll_per_byte", low=low, high=high, source=f"the entry's nll_per_byte, {known:g}, {within:.0%}")


def token_time(read: float, bandwidth: float, layers: int, device: str) -> Limit:
    """The limit of `token_time`, for the bytes that a token must read and a measured bandwidth."""
    each = _A_LAYER[device]
    high = _READ_AGAIN * read / bandwidth + layers * each
    why = (
        f"{_READ_AGAIN:g} times {format_bytes(read)} at {_rate(bandwidth)}, and {each:g} s for each of {layers} layers"
    )
    return _own("token_time", high=high, why=why)


def first_token_time(token_high: float, prompt_tokens: int) -> Limit:
    """The limit of `first_token_time`: reading a prompt at once may take no longer than its tokens one by one."""
    high = prompt_tokens * token_high
    return _own("first_token_time", high=high, why=f"a prompt of {prompt_tokens} tokens, each at the most for a token")


def bandwidth_share(device: str) -> Limit:
    """The limit of `bandwidth_share`: a token that comes faster than memory can be read was mismeasured, or not
    computed."""
    return _own("bandwidth_share", high=_SURE_OF, why=f"memory of the {device} gives no more than was measured")


def general_answers(*, speaks: bool) -> Limit:
    """The limit of right answers to general questions, for an instructed model."""
    if speaks:
        return _own("general_answers", low=0.375, why="a small instructed model gives half of them")
    return _own("general_answers", low=0.0, why="a base model need not answer")


def ended_share(*, speaks: bool) -> Limit:
    """The limit of answers that end by themselves, for an instructed model."""
    if speaks:
        return _own("ended_share", low=0.25, why="an instructed model ends its answers")
    return _own("ended_share", low=0.0, why="a base model need not end")


def _own(metric: str, *, low: float | None = None, high: float | None = None, why: str) -> Limit:
    return Limit(metric=metric, low=low, high=high, source=f"the suite's own: {why} ({_PAGE})")


def _rate(rate: float) -> str:
    return f"{rate / 1e9:.2f} GB/s"


_TRAINING_BESIDE: Final = {"cpu": 0.05, "cuda": 0.10}
"""Fraction by which a training step's peak may differ from its prediction. On a CPU it was within 0.1 %; what GPU
kernels take within an operation is not predicted."""
_TRAINING_WORKSPACE: Final = {"cpu": 0, "cuda": _WORKSPACE}
"""Bytes that a step may take on top, whatever its size: on a GPU a product with a bias allocates a workspace of up to
32 MiB while it runs, and every block is rounded up. A tiny model's whole step is smaller."""
_ONE_UPDATE: Final = 0.05
"""Fraction by which gradients may differ when computed in another order: in 16 bit each is rounded to 0.4 %."""


def training_memory(predicted: int, device: str) -> Limit:
    """The limits of a training step's peak memory."""
    share, workspace = _TRAINING_BESIDE[device], _TRAINING_WORKSPACE[device]
    beside = f", and {format_bytes(workspace)} above" if workspace else ""
    return Limit(
        metric="training_peak",
        low=predicted * (1 - share),
        high=predicted * (1 + share) + workspace,
        source=f"predicted from the configuration, within {share:.0%}{beside} (docs/headroom.md)",
    )


def one_update() -> Limit:
    """The limit of differences between gradients of one batch that are computed in several ways."""
    return Limit(
        metric="accumulation_difference",
        high=_ONE_UPDATE,
        source="the suite's own: what the order of sums costs in bfloat16 (docs/headroom.md)",
    )
