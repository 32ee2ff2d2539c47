"""The most memory that loading takes at once, on each place that weights go to.

transformers reads a checkpoint in the natural order of the names that its files have. A quantized weight is in 16 bit,
and in what packing needs, while it is packed, and all that was read before it is there too; so the peak is where a
large weight comes late. Experts that a checkpoint keeps apart are stacked, and their projections joined, before they
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
from plimsoll.footprint.sizes import Footprint

RAM: Final = -1
"""Stands for the host's memory where other places are CUDA's numbers."""

_HALF: Final = 2
_LOADING_THREADS: Final = 4
"""Tensors that transformers reads at once; one where weights are quantized as they are read."""


def load_peaks(footprint: Footprint, quantization: Quantization, place_of: Callable[[str], int]) -> Mapping[int, int]:
    """Bytes in use at the highest point of a load, for each place that a parameter or buffer goes to, and for RAM,
    which tensors pass through on their way to another place.

    Pages of the checkpoint's files, which a system may drop, are not counted.
    """
    held: Counter[int] = Counter()
    peaks: Counter[int] = Counter()
    for buffer in footprint.buffers:
        held[place_of(buffer.name)] += buffer.data_bytes
    joined: Counter[int] = Counter()
    passing: set[tuple[tuple[int, ...], bool]] = set()
    is_quantized = quantization.is_quantized
    for number in _reading_order(tuple(p.published or p.name for p in footprint.parameters)):
        parameter = footprint.parameters[number]
        place = place_of(parameter.name)
        device = "cpu" if place == RAM else "cuda"
        moment = _moment(parameter.shape, parameter.data_bytes, quantization if parameter.quantized else None, device)
        peaks[place] = max(peaks[place], held[place] + moment)
        held[place] += parameter.data_bytes + parameter.statistics_bytes
        if not is_quantized:
            joined[place] = max(joined[place], moment - parameter.data_bytes)
        passing.add((parameter.shape, place == RAM))
    for place, size in held.items():
        # Threads run ahead with what comes later, so that a join may happen when all is there.
        peaks[place] = max(peaks[place], size + joined[place])
    most = max(_passing(math.prod(shape), quantization, stays=stays) for shape, stays in passing)
    peaks[RAM] = max(peaks[RAM], held[RAM] + most)
    return peaks


@lru_cache(maxsize=2**12)
def _moment(shape: tuple[int, ...], data_bytes: int, scheme: Quantization | None, device: str) -> int:
    """Bytes that one parameter takes at its highest while it is loaded; `scheme` is None for one that is not packed.
    Layers are alike, so each of their answers is kept."""
    source = _HALF * math.prod(shape)
    joining = 2 * source if len(shape) == 3 else 0
    if scheme is None:
        return max(data_bytes, joining)
    return max(joining, source + packing_bytes(shape, scheme, device))


def _passing(count: int, quantization: Quantization, *, stays: bool) -> int:
    """Bytes of RAM that tensors of so many elements take beside what is kept in it: on their way to another place,
    where int8 is copied back and other dtypes are converted; or as the source of what stays, in another dtype than that
    of published checkpoints."""
    if quantization.is_quantized:
        return 0 if stays else _HALF * count
    if stays:
        return 0 if quantization is Quantization.BF16 else _HALF * count * _LOADING_THREADS
    width = 4 if quantization is Quantization.FP32 else _HALF
    return width * count * _LOADING_THREADS


@lru_cache(maxsize=256)
def _reading_order(names: tuple[str, ...]) -> tuple[int, ...]:
    """The places of names in natural order. Kept, since the schemes of a model differ in no name."""
    return tuple(sorted(range(len(names)), key=lambda number: _natural(names[number])))


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers by value, and before words: layer 10 comes after layer 9."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split("."))
