"""How many bytes a packed weight takes, by arithmetic alone: the same figures bitsandbytes allocates, to the byte.

It stands apart from the prediction because it needs no torch, and because these few numbers are what every quantized
figure of the suite rests on. What counts as statistics is everything that must stay in memory to unpack the data:

- int8 (LLM.int8): one float32 scale a row;
- nf4: one float32 absmax a block of 64, and the 16-entry float32 code table, which bitsandbytes keeps once a tensor;
- nf4-dq: the absmax as uint8, one float32 a block of 256 of them, their float32 mean (the offset), the 256-entry
  float32 table of the second quantization and the 16-entry one of the first, both once a tensor.

The tables are not rounding errors: 1,092 bytes a tensor are 2 % of a tiny checkpoint.
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
    """The bytes that a weight of a logical shape takes under a scheme.

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
