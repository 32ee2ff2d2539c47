"""The most memory that loading takes at once, on each place that weights go to.

transformers reads a checkpoint in the natural order of the names that its files have. A quantized weight is in 16 bit,
and in what packing needs, while it is packed, and all that was read before it is there too; so the peak is where a
large weight comes late. Experts that a checkpoint keeps apart are stacked, and their projections joined, before they
are packed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.packing import packing_bytes
from plimsoll.footprint.sizes import ExpectedParameter, Footprint

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
    for parameter in sorted(footprint.parameters, key=lambda p: _natural(p.published or p.name)):
        place = place_of(parameter.name)
        moment = _moment(parameter, quantization, "cpu" if place == RAM else "cuda")
        peaks[place] = max(peaks[place], held[place] + moment)
        held[place] += parameter.data_bytes + parameter.statistics_bytes
        if not quantization.is_quantized:
            joined[place] = max(joined[place], moment - parameter.data_bytes)
    for place, size in held.items():
        # Threads run ahead with what comes later, so that a join may happen when all is there.
        peaks[place] = max(peaks[place], size + joined[place])
    passing = [_passing(p.count, quantization, stays=place_of(p.name) == RAM) for p in footprint.parameters]
    peaks[RAM] = max(peaks[RAM], held[RAM] + max(passing))
    return peaks


def _moment(parameter: ExpectedParameter, quantization: Quantization, device: str) -> int:
    """Bytes that one parameter takes at its highest while it is loaded."""
    source = _HALF * parameter.count
    joining = 2 * source if len(parameter.shape) == 3 else 0
    if not parameter.quantized:
        return max(parameter.data_bytes, joining)
    return max(joining, source + packing_bytes(parameter.shape, quantization, device))


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


@lru_cache(maxsize=2**16)
def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers by value, and before words: layer 10 comes after layer 9. Kept, since a plan sorts the same names for
    every scheme of a model."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split("."))
