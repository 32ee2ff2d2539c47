"""Implements NF4, nested statistics and int8 rows from their definitions.

What bitsandbytes packed is judged here, so none of its functions take part: only bytes, tables and basic operations of
torch. Each function says how far stored codes lie from what the scheme gives for the weights, as a number of which a
sound one is zero but for the rounding of float32.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import torch

NF4: Final = torch.tensor(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)
"""The 16 quantiles of a normal distribution that QLoRA (arXiv 2305.14314, appendix E) lists."""
LARGEST_CODE: Final = 127
"""Of int8: rows are scaled so that their largest magnitude becomes this."""
_LEAST_ABSMAX: Final = 1e-37
"""Magnitudes below are taken for zero: bitsandbytes itself writes 1e-38 for a last block that is all zeros."""


@cache
def dynamic_table() -> torch.Tensor:
    """The 256 values that nested statistics are packed with, in rising order (8-bit dynamic tree quantization,
    arXiv 1511.04561): seven exponents, each with twice as many fractions as the one below."""
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1, dtype=torch.float32)
        centres = (10.0 ** (exponent - 6) * ((edges[:-1] + edges[1:]) / 2)).tolist()
        values += [*centres, *(-centre for centre in centres)]
    return torch.tensor(sorted(values), dtype=torch.float32)


def nibbles(packed: torch.Tensor, count: int) -> torch.Tensor:
    """The first `count` 4-bit codes of bytes, the high half of each byte first; int64."""
    halves = torch.stack([packed >> 4, packed & 15], dim=-1)
    return halves.reshape(-1)[:count].long()


def in_blocks(values: torch.Tensor, size: int) -> torch.Tensor:
    """A flat tensor as rows of `size`; the last one is filled up with zeros."""
    blocks = math.ceil(values.numel() / size)
    return torch.nn.functional.pad(values, (0, blocks * size - values.numel())).view(blocks, size)


def code_error(scaled: torch.Tensor, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """How much farther each value lies from its code's value than from the nearest one of the table; 0 is the
    nearest. `table` rises, `scaled` lies in -1..1."""
    middles = (table[1:] + table[:-1]) / 2
    nearest = table[torch.bucketize(scaled, middles)]
    return (scaled - table[codes]).abs() - (scaled - nearest).abs()


def counted(errors: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
    """The errors of codes, without those of rows whose largest magnitude is zero: whatever their codes, they unpack to
    zero. Kernels for GPUs divide by that zero and give the first code, those for processors the code of zero."""
    return errors.masked_fill(largest <= _LEAST_ABSMAX, 0.0)


def scaled_by(values: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
    """Rows over their own largest magnitude; zeros where that is zero."""
    there = largest > _LEAST_ABSMAX
    return torch.where(there, values / largest.where(there, torch.ones_like(largest)), torch.zeros_like(values))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Differences over the expected magnitudes; over 1 where nothing is expected, where 1e-38 is no difference."""
    scale = expected.abs()
    return (found - expected).abs() / scale.where(scale > _LEAST_ABSMAX, torch.ones_like(scale))


def row_error(rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """How far each value lies beyond half a step of its int8 code, in steps of its row; at most 0 for a sound one.

    `rows` are the weights in float32, as float16 holds them.
    """
    exact = scaled_by(rows, rows.abs().amax(-1, keepdim=True)) * LARGEST_CODE
    return (exact - codes.float()).abs() - 0.5
