"""The predicted footprint of a variant: what it should store, parameter by parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedParameter:
    """One parameter or buffer as architecture and scheme prescribe it; sizes in bytes."""

    name: str
    shape: tuple[int, ...]
    quantized: bool
    data_bytes: int
    statistics_bytes: int
    storage_dtype: str
    reason: str
    """Why it is not quantized (`embedding`, `output head`, `norm`, `router`, ...); empty where it is."""
    published: str = ""
    """Its name in files, or that of the first of several tensors that are joined; empty where it is `name`."""

    @property
    def is_experts(self) -> bool:
        """True for a tensor with several experts: not named `weight`, or with three dimensions."""
        return len(self.shape) > 2 or not self.name.endswith("weight")

    @property
    def count(self) -> int:
        """The number of logical parameters."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The prediction for one variant; tied parameters are counted once."""

    parameters: tuple[ExpectedParameter, ...]
    buffers: tuple[ExpectedParameter, ...]

    @property
    def parameter_count(self) -> int:
        """Logical parameters, tied ones once, buffers not counted."""
        return sum(p.count for p in self.parameters)

    @property
    def weight_bytes(self) -> int:
        """Bytes of parameters and buffers with their quantization statistics."""
        return sum(p.data_bytes + p.statistics_bytes for p in (*self.parameters, *self.buffers))

    @property
    def quantized_fraction(self) -> float:
        """Logical parameters that the scheme packs, of all."""
        return sum(p.count for p in self.parameters if p.quantized) / self.parameter_count
