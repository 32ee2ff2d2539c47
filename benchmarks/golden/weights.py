"""The weights of the golden models in numpy: integers from a hash of each value's place, scaled by powers of two.

The hash is the output function of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
2014) over a counter, so any value can be made by itself, and integer arithmetic gives the same bits on every machine.
The host makes the same weights in torch (`plimsoll/host/server/golden.py`); a digest over all values ties the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plimsoll.catalogue.golden import GoldenTensor

Floats = npt.NDArray[np.float64]

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_SHIFTS: Final = 3
"""Rows are shifted down by 0, 1 or 2 bits more: were all of one size, statistics that are off by one row would change
little. Within a row all values are odd multiples of one power of two, so that none lies half-way between two integers
of LLM.int8."""


def seven_bits(name: str, count: int) -> npt.NDArray[np.int64]:
    """`count` integers of 0 to 127 that follow from the name."""
    seed = np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        state = seed + np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(57)).astype(np.int64)


def make_tensor(family: str, tensor: GoldenTensor) -> Floats:
    """The values of one tensor."""
    name = f"{family}/{tensor.name}"
    count = int(np.prod(tensor.shape))
    drawn = seven_bits(name, count)
    if tensor.exponent is None:
        return ((64 + drawn) / 128).reshape(tensor.shape)
    columns = tensor.shape[-1]
    shifts = np.repeat(seven_bits(f"{name}#shifts", count // columns) % _SHIFTS, columns)
    return np.ldexp((2 * drawn - 127).astype(np.float64), -(tensor.exponent + shifts)).reshape(tensor.shape)


def make_weights(family: str, tensors: Iterable[GoldenTensor]) -> dict[str, Floats]:
    """All tensors of a family by their published names."""
    return {tensor.name: make_tensor(family, tensor) for tensor in tensors}


def digest(weights: dict[str, Floats]) -> str:
    """The SHA-256 over all values in order, as little-endian float32, which holds each of them exactly."""
    found = hashlib.sha256()
    for values in weights.values():
        found.update(values.astype("<f4").tobytes())
    return found.hexdigest()


def tokens(name: str, count: int, vocabulary: int) -> list[int]:
    """The ids of the text of a name; `vocabulary` is at most 128."""
    drawn: list[Any] = (seven_bits(name, count) % vocabulary).tolist()
    return [int(token) for token in drawn]
