"""Computes the peak memory of loading, on each place that weights go to.

transformers reads a checkpoint in the natural order of the names in its files. While a weight is packed, its 16-bit
form and packing's temporary memory are there, and so is everything that was read before; so the peak is where a large
weight comes late. Experts that a checkpoint stores separately are stacked, and their projections joined, before they
are packed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.packing import packing_bytes
from plimsoll.footprint.sizes import ExpectedParameter, Footprint

RAM: Final = -1
"""The key for the host's memory; other places have CUDA's numbers."""

_HALF: Final = 2
_LOADING_THREADS: Final = 4
"""Tensors that transformers reads at once; one at a time where weights are quantized while they are read."""


def load_peaks(footprint: Footprint, quantization: Quantization, place_of: Callable[[str], int]) -> Mapping[int, int]:
    """The peak in bytes of a load, on each place that parameters and buffers go to, and in RAM, through which tensors
    pass. Pages of the checkpoint's files, which a system may drop, do not count.
    """
    held: Counter[int] = Counter()
    peaks: Counter[int] = Counter()
    for buffer in footprint.buffers:
        held[place_of(buffer.name)] += buffer.data_bytes
    joined: Counter[int] = Counter()
    passing: set[tuple[tuple[int, ...], bool]] = set()
    is_quantized = quantization.is_quantized
    # Layers are alike.
    moments: dict[tuple[tuple[int, ...], int, bool, bool], int] = {}
    for number in _reading_order(tuple(p.published or p.name for p in footprint.parameters)):
        parameter = footprint.parameters[number]
        place = place_of(parameter.name)
        kind = (parameter.shape, parameter.data_bytes, parameter.quantized, place == RAM)
        if kind not in moments:
            moments[kind] = _moment(parameter, quantization, "cpu" if place == RAM else "cuda")
            passing.add((parameter.shape, place == RAM))
        moment = moments[kind]
        peaks[place] = max(peaks[place], held[place] + moment)
        held[place] += parameter.data_bytes + parameter.statistics_bytes
        if not is_quantized:
            joined[place] = max(joined[place], moment - parameter.data_bytes)
    for place, size in held.items():
        # Threads read ahead, so that in the worst case everything is there when tensors are joined.
        peaks[place] = max(peaks[place], size + joined[place])
    most = max(_passing(math.prod(shape), quantization, stays=stays) for shape, stays in passing)
    peaks[RAM] = max(peaks[RAM], held[RAM] + most)
    return peaks


def _moment(parameter: ExpectedParameter, scheme: Quantization, device: str) -> int:
    """Peak bytes of one parameter while it is loaded."""
    source = _HALF * math.prod(parameter.shape)
    joining = 2 * source if len(parameter.shape) == 3 else 0
    if not parameter.quantized:
        return max(parameter.data_bytes, joining)
    return max(joining, source + packing_bytes(parameter.shape, scheme, device))


def _passing(count: int, quantization: Quantization, *, stays: bool) -> int:
    """Temporary bytes of RAM for tensors of so many elements: on their way to another place, where int8 is copied back
    and other dtypes are converted; or as the source of a copy in another dtype than the checkpoint's."""
    if quantization.is_quantized:
        return 0 if stays else _HALF * count
    if stays:
        return 0 if quantization is Quantization.BF16 else _HALF * count * _LOADING_THREADS
    width = 4 if quantization is Quantization.FP32 else _HALF
    return width * count * _LOADING_THREADS


@lru_cache(maxsize=256)
def _reading_order(names: tuple[str, ...]) -> tuple[int, ...]:
    """The positions of names in natural order. Cached, since all schemes of a model have the same names."""
    return tuple(sorted(range(len(names)), key=lambda number: _natural(names[number])))


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """The natural sort key: numbers by value, and before words, so that layer 10 comes after layer 9."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split("."))
