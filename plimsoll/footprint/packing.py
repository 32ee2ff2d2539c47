"""Computes the bytes of a packed weight: the same figures that bitsandbytes allocates, to the byte.

It is apart from the prediction because it needs no torch, and because every figure on quantization depends on these few
numbers. Statistics are everything that must stay in memory to unpack the data:

- int8 (LLM.int8): one float32 scale a row;
- nf4: one float32 absmax a block of 64, and the 16-entry float32 code table, which bitsandbytes keeps once a tensor;
- nf4-dq: the absmax as uint8, one float32 a block of 256 of them, their float32 mean (the offset), the 256-entry
  float32 table of the second quantization and the 16-entry one of the first, both once a tensor.

The tables are not rounding errors: 1,092 bytes a tensor are 2 % of a tiny checkpoint.

While it is packed, a weight takes more: on a GPU a kernel writes the packed form directly, on a CPU bitsandbytes goes
through float32 (measured with 0.50; tests compare these figures with it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization

BLOCK: Final = 64
"""Weights that share one absmax: bitsandbytes' default for 4 bit."""
NESTED_BLOCK: Final = 256
"""Absmax values that share one scale under double quantization."""
_FLOAT32: Final = 4
_CODE_TABLE: Final = 16 * _FLOAT32
_NESTED_CODE_TABLE: Final = 256 * _FLOAT32
_OFFSET: Final = _FLOAT32


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The stored form of one weight; sizes in bytes."""

    data_bytes: int
    statistics_bytes: int
    storage_dtype: str


def packed(shape: Sequence[int], quantization: Quantization) -> Packed:
    """The bytes of a weight of a logical shape under a scheme.

    Raises ValueError for a quantization that packs nothing.
    """
    count = math.prod(shape)
    if quantization is Quantization.INT8:
        rows = count // shape[-1]
        return Packed(data_bytes=count, statistics_bytes=rows * _FLOAT32, storage_dtype="int8")
    if not quantization.is_quantized:
        raise ValueError(f"{quantization} packs no weight")
    blocks = math.ceil(count / BLOCK)
    if quantization is Quantization.NF4_DQ:
        nested = math.ceil(blocks / NESTED_BLOCK) * _FLOAT32 + _NESTED_CODE_TABLE + _OFFSET
        statistics = blocks + nested + _CODE_TABLE
    else:
        statistics = blocks * _FLOAT32 + _CODE_TABLE
    return Packed(data_bytes=math.ceil(count / 2), statistics_bytes=statistics, storage_dtype="uint8")


_HALF: Final = 2
_NF4_ON_CPU: Final = 14
"""Bytes a weight: two float32 copies, 4-byte indices, and the packed form's two parts before they are joined."""
_INT8_ON_CPU: Final = 10
"""Bytes a weight: a float16 copy, and the scaled weight in float32 twice."""


def packing_bytes(shape: Sequence[int], quantization: Quantization, device: str) -> int:
    """The peak bytes while a weight is packed on `cpu` or `cuda`, including the packed form, but not the 16-bit weight
    itself. 3-D weights are experts, which are packed one at a time.

    Raises ValueError for a quantization that packs nothing.
    """
    if len(shape) < 3:
        return _packing_one(shape, quantization, device)
    whole = packed(shape, quantization)
    done = whole.data_bytes + whole.statistics_bytes
    one = _packing_one(shape[1:], quantization, device)
    if quantization is Quantization.INT8:
        return done + one
    # All pieces are there until they are joined.
    count, plain = math.prod(shape), math.ceil(math.prod(shape) / BLOCK) * _FLOAT32
    pieces = math.ceil(count / 2) + plain
    nesting = plain + done - whole.data_bytes if quantization is Quantization.NF4_DQ else 0
    return max(pieces * (shape[0] - 1) // shape[0] + one, 2 * pieces + nesting)


def _packing_one(shape: Sequence[int], quantization: Quantization, device: str) -> int:
    form = packed(shape, quantization)
    count = math.prod(shape)
    if quantization is Quantization.INT8:
        rows = count // shape[-1] * _FLOAT32
        return _INT8_ON_CPU * count + 2 * rows if device == "cpu" else (_HALF + 1) * count + rows
    plain = math.ceil(count / BLOCK) * _FLOAT32
    if device == "cpu":
        return _NF4_ON_CPU * count + plain
    # The absmax, with and without its mean, is there until it is packed itself.
    nested = plain + form.statistics_bytes if quantization is Quantization.NF4_DQ else 0
    return form.data_bytes + plain + nested
