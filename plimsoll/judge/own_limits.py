"""The limits that the suite sets itself where neither an entry nor a document does.

What a load takes follows from the prediction and from the speeds that were measured on this node just before; what
numbers may differ follows from the arithmetic of the scheme, as real models show it. docs/limits.md has what was
measured, and how each limit follows.
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
"""Times the arithmetic that a load may take: reading, copying and packing take turns, and tensors are small."""
_SETTING_UP: Final = 20.0
"""Seconds that do not depend on the weights: code that a first load pulls in, the skeleton of the model."""
_COPIES: Final = {Quantization.INT8: 3.0}
"""How often weights cross the link to a GPU; bitsandbytes brings int8 back to RAM and to the GPU again."""

_RAM_BESIDE: Final = {"cpu": 512 * _MIB, "cuda": 4 * _GIB}
"""RAM beside what is predicted: code that loading pulls in, and what allocators keep; CUDA has gigabytes."""

_ABOVE_PREDICTED: Final = 1.02
_WORKSPACE: Final = 64 * _MIB

_KEPT_BY_LIBRARIES: Final = 128 * _MIB
"""Bytes of a GPU: cuBLAS and cuBLASLt take up to 32 MiB each for a stream on the largest GPUs (torch's defaults), and
bitsandbytes has tables of a few KiB. Not measured on a GPU."""

_READ_AGAIN: Final = 20.0
"""Times that weights may be read for a token: what is packed is unpacked to memory and read from there, layer by layer,
by kernels that do not use all of its bandwidth."""
_A_LAYER: Final = {"cpu": 5.0, "cuda": 0.02}
"""Seconds that a layer may take whatever its size: some twenty calls of kernels, of int8 and mixtures a hundred. On a
processor the code is tried and not the speed: others who use it too made a layer of 5 ms take 0.8 s."""
_SURE_OF: Final = 1.05

_LAYERS: Final = 30
_WIDTH: Final = 576
"""Layers and hidden size of the model that the limits on numbers were measured on."""

_ROUNDING: Final[Mapping[Quantization, float]] = {
    Quantization.FP32: 0.001,
    Quantization.FP16: 0.05,
    Quantization.BF16: 0.25,
    Quantization.INT8: 1.5,
    Quantization.NF4: 0.35,
    Quantization.NF4_DQ: 0.35,
}
"""The most that logits of two ways to compute the same may differ, over their spread, at that depth."""

_DIVERGENCE: Final[Mapping[Quantization, float]] = {
    Quantization.FP32: 0.02,
    Quantization.FP16: 0.02,
    Quantization.INT8: 0.06,
    Quantization.NF4: 0.45,
    Quantization.NF4_DQ: 0.45,
}
"""The most that the next-token distributions over plain English may lie from those of bf16, in nats, at that width."""

_ANY_MODEL: Final = 1.2
_KNOWN_WITHIN: Final[Mapping[Quantization, float]] = {Quantization.NF4: 0.12, Quantization.NF4_DQ: 0.12}
"""How far a known value of `nll_per_byte` may be off, as a fraction; four bits cost a small model some 6 %."""
_KNOWN_WITHIN_16_BIT: Final = 0.01


def load_time(metric: str, checkpoint: int, parameters: int, quantization: Quantization, speeds: Speeds) -> Limit:
    """Seconds for a load of a checkpoint of so many bytes, `cold_load_time` from disk and others from memory."""
    rate = speeds.disk if metric == "cold_load_time" else speeds.memory
    parts = {f"{_rate(rate)} from {'disk' if metric == 'cold_load_time' else 'the page cache'}": checkpoint / rate}
    if speeds.link is not None:
        parts[f"{_rate(speeds.link)} to the GPU"] = _COPIES.get(quantization, 1.0) * checkpoint / speeds.link
    if speeds.packing is not None:
        parts[f"{speeds.packing / 1e6:,.0f} million parameters a second packed"] = parameters / speeds.packing
    high = _SLOWER * sum(parts.values()) + _SETTING_UP
    return _own(metric, high=high, why=f"{_SLOWER:g} times what {', '.join(parts)} give, and {_SETTING_UP:g} s")


def ram(metric: str, predicted: int, device: str) -> Limit:
    """Bytes of RAM: what is predicted, and what does not depend on the weights."""
    beside = _RAM_BESIDE[device]
    return _own(metric, high=predicted + beside, why=f"{format_bytes(predicted)} predicted, and {format_bytes(beside)}")


def vram_peak(held: int, load: int, gpus: int) -> Limit:
    """`vram_peak`, of so many GPUs together: what is held once loaded, and what loading takes at its highest. A caching
    allocator rounds each tensor up, and libraries of matrix products keep a workspace in it."""
    return Limit(
        metric="vram_peak",
        low=held,
        high=_ABOVE_PREDICTED * load + _WORKSPACE * gpus,
        source="predicted from the configuration, 2 % and 64 MiB a GPU",
    )


def vram_returned() -> Limit:
    """Bytes of one GPU that torch may keep allocated once the model is gone: libraries of matrix products take
    workspaces through it, of which a first product brings in a part before a load is measured."""
    why = f"workspaces of libraries, {format_bytes(_KEPT_BY_LIBRARIES)} a GPU"
    return _own("vram_returned", high=_KEPT_BY_LIBRARIES, why=why)


def rounding(metric: str, quantization: Quantization, layers: int) -> Limit:
    """`cache_divergence` and `batch_divergence`: noise adds up over layers like independent errors."""
    deeper = math.sqrt(max(1.0, layers / _LAYERS))
    return _own(metric, high=_ROUNDING[quantization] * deeper, why=f"rounding of {quantization} in {layers} layers")


def divergence(quantization: Quantization, width: int) -> Limit:
    """`quantized_divergence`: a wider model has more weights for the errors of each to cancel."""
    narrower = min(1.0, math.sqrt(_WIDTH / max(1, width)))
    high = _DIVERGENCE[quantization] * narrower
    return _own("quantized_divergence", high=high, why=f"{quantization} at a hidden size of {width}")


def repetition(*, speaks: bool) -> Limit:
    """A base model that decodes greedily runs in circles, and is not at fault."""
    if speaks:
        return _own("repetition", high=0.9, why="an instructed model does not run in circles")
    return _own("repetition", high=1.0, why="a base model that decodes greedily may run in circles")


def any_meaning() -> Limit:
    """`nll_per_byte` of any model that reads English."""
    return _own("nll_per_byte", high=_ANY_MODEL, why="plain English, for any model that reads it")


def known_meaning(known: float, quantization: Quantization) -> Limit:
    """`nll_per_byte` of a model whose value in bf16 an entry carries."""
    within = _KNOWN_WITHIN.get(quantization, _KNOWN_WITHIN_16_BIT)
    low, high = known * (1 - within), known * (1 + within)
    return Limit(metric="nll_per_byte", low=low, high=high, source=f"the entry's nll_per_byte, {known:g}, {within:.0%}")


def token_time(read: float, bandwidth: float, layers: int, device: str) -> Limit:
    """`token_time`, for bytes that a token must read at a bandwidth of so many a second."""
    each = _A_LAYER[device]
    high = _READ_AGAIN * read / bandwidth + layers * each
    why = (
        f"{_READ_AGAIN:g} times {format_bytes(read)} at {_rate(bandwidth)}, and {each:g} s for each of {layers} layers"
    )
    return _own("token_time", high=high, why=why)


def first_token_time(token_high: float, prompt_tokens: int) -> Limit:
    """`first_token_time`: reading a prompt at once takes no longer than its tokens one by one may, at the most for
    each."""
    high = prompt_tokens * token_high
    return _own("first_token_time", high=high, why=f"a prompt of {prompt_tokens} tokens, each at the most for a token")


def bandwidth_share(device: str) -> Limit:
    """`bandwidth_share`: a token that is read faster than memory gives it was not measured, or not computed."""
    return _own("bandwidth_share", high=_SURE_OF, why=f"memory of the {device} gives no more than was measured")


def general_answers(*, speaks: bool) -> Limit:
    """Right answers to general questions, of an instructed model."""
    if speaks:
        return _own("general_answers", low=0.375, why="a small instructed model gives half of them")
    return _own("general_answers", low=0.0, why="a base model need not answer")


def ended_share(*, speaks: bool) -> Limit:
    """Answers that end by themselves, of an instructed model."""
    if speaks:
        return _own("ended_share", low=0.25, why="an instructed model ends its answers")
    return _own("ended_share", low=0.0, why="a base model need not end")


def _own(metric: str, *, low: float | None = None, high: float | None = None, why: str) -> Limit:
    return Limit(metric=metric, low=low, high=high, source=f"the suite's own: {why} ({_PAGE})")


def _rate(rate: float) -> str:
    return f"{rate / 1e9:.2f} GB/s"


_TRAINING_BESIDE: Final = {"cpu": 0.05, "cuda": 0.10}
"""Part of its prediction by which a training step's peak may differ. On a CPU the account of the allocator was met
within 0.1 %; what kernels of a GPU take within an operation is not predicted."""
_TRAINING_WORKSPACE: Final = {"cpu": 0, "cuda": _WORKSPACE}
"""Bytes that a step may take on top whatever its size: on a GPU a product with a bias takes a workspace of up to 32 MiB
through the allocator while it lasts, and every block is rounded up. A tiny model's whole step is smaller."""
_ONE_UPDATE: Final = 0.05
"""Part by which gradients may differ that are computed in another order: in 16 bit each is rounded to 0.4 %."""


def training_memory(predicted: int, device: str) -> Limit:
    """The bounds of the most that a training step has in use."""
    share, workspace = _TRAINING_BESIDE[device], _TRAINING_WORKSPACE[device]
    beside = f", and {format_bytes(workspace)} above" if workspace else ""
    return Limit(
        metric="training_peak",
        low=predicted * (1 - share),
        high=predicted * (1 + share) + workspace,
        source=f"predicted from the configuration, within {share:.0%}{beside} (docs/headroom.md)",
    )


def one_update() -> Limit:
    """How far gradients of one batch may differ that are computed in several ways."""
    return Limit(
        metric="accumulation_difference",
        high=_ONE_UPDATE,
        source="the suite's own: what the order of sums costs in bfloat16 (docs/headroom.md)",
    )
