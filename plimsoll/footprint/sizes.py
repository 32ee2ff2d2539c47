"""What a variant should store, parameter by parameter, predicted from its configuration before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedParameter:
    """One parameter or buffer as the architecture and the scheme say it should be stored; sizes in bytes."""

    name: str
    shape: tuple[int, ...]
    quantized: bool
    data_bytes: int
    statistics_bytes: int
    storage_dtype: str
    reason: str
    """Why it stays in floats (`embedding`, `output head`, `norm`, `router`, ...); empty where it is quantized."""
    published: str = ""
    """What files call it, of several tensors that are joined the first; empty where that is `name`."""

    @property
    def is_experts(self) -> bool:
        """True for a tensor that holds several experts: one that is no layer's `weight`, or has three dimensions."""
        return len(self.shape) > 2 or not self.name.endswith("weight")

    @property
    def count(self) -> int:
        """The number of logical parameters."""
        count = 1
        for size in self.shape:
            count *= size
        return count


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
