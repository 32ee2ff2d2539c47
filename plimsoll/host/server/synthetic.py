"""Makes synthetic weights on demand, behind the interface through which `from_pretrained` reads a checkpoint.

A full-size model without its download: what a load costs in memory, what quantization really packs, where each part
goes and whether the numbers stay finite depend on shapes, not on what was learnt. The tensors have the names and shapes
of a published checkpoint, so that transformers merges, converts and quantizes them as it would those, and each exists
only while it is asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
from torch import nn
from transformers.core_model_loading import revert_weight_conversion

from plimsoll.host.server.predict.config import setting_of
from plimsoll.host.server.predict.coverage import build_skeleton

_PERIOD: Final = 262_139
"""Random values that are drawn for a tensor; larger ones repeat them. Drawing each of 70 billion would take minutes.
A prime, so that no row of a matrix repeats another: the rows would be 128 distinct ones, and the matrix singular."""
_DTYPE: Final = torch.bfloat16
"""Of every tensor, as in the checkpoints that are published."""
_USUAL_SPREAD: Final = 0.02
_CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticCheckpoint:
    """The substitute for a checkpoint: the class and configuration to load, and every tensor by its name."""

    model_class: Any
    configuration: Any
    tensors: Mapping[str, SyntheticTensor | torch.Tensor]

    @property
    def state_dict(self) -> dict[str, UnplacedTensor | torch.Tensor]:
        """The tensors as `from_pretrained` takes them: each matrix is made on the device that it asks for."""
        return {
            name: UnplacedTensor(tensor) if isinstance(tensor, SyntheticTensor) else tensor
            for name, tensor in self.tensors.items()
        }


class SyntheticTensor:
    """One tensor of the checkpoint, of which nothing exists until it is indexed: then what was asked for is made on the
    CPU, of bfloat16. Its values are normal with a standard deviation of `spread`, and follow from its name alone, so
    that neither order nor depth of the model, nor device or threads, change them."""

    __slots__ = ("_name", "_spread", "shape")

    def __init__(self, name: str, shape: tuple[int, ...], spread: float) -> None:
        self._name = name
        self._spread = spread
        self.shape = shape

    def get_shape(self) -> list[int]:
        """As a slice of safetensors has it."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """As a slice of safetensors has it."""
        return "BF16"

    def __getitem__(self, index: Any) -> torch.Tensor:
        if isinstance(index, slice) and self.shape:
            start, stop, step = index.indices(self.shape[0])
            if step == 1:
                return self._make(start, max(start, stop))
        return self.made_on(_CPU)[index]

    def made_on(self, device: torch.device, dtype: torch.dtype = _DTYPE) -> torch.Tensor:
        """The whole of it, filled where it goes; in another dtype it is what converting it would give."""
        return self._make(0, self.shape[0] if self.shape else 1, device, dtype)

    def _make(self, first: int, last: int, device: torch.device = _CPU, dtype: torch.dtype = _DTYPE) -> torch.Tensor:
        """These entries of the first dimension. What is drawn is drawn on the CPU, and all else is copying it."""
        drawn = _drawn(self._name, min(math.prod(self.shape), _PERIOD), self._spread)
        width = math.prod(self.shape[1:])
        start, count = first * width, (last - first) * width
        if not count:
            return torch.empty(last - first, *self.shape[1:], dtype=dtype, device=device)
        # Turned, so that it begins where the entries do.
        block = drawn.roll(-(start % len(drawn)))[:count].to(dtype).to(device)
        values = torch.empty(count, dtype=dtype, device=device)
        whole = count // len(block) * len(block)
        values[:whole].view(-1, len(block)).copy_(block)
        values[whole:] = block[: count - whole]
        return values.view(last - first, *self.shape[1:]) if self.shape else values.view(())


class UnplacedTensor:
    """A tensor of the checkpoint before it is known where it goes: transformers reads one whole and moves it at once,
    `tensor[...].to(device=..., dtype=...)`, and only then is it made, on that device. 281 GB take one thread of a CPU
    minutes, and GPUs a moment."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: SyntheticTensor) -> None:
        self._tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file would have it."""
        return self._tensor.shape

    def get_shape(self) -> list[int]:
        """As a slice of safetensors has it."""
        return self._tensor.get_shape()

    def get_dtype(self) -> str:
        """As a slice of safetensors has it."""
        return self._tensor.get_dtype()

    def __getitem__(self, index: Any) -> Any:
        return self if index is Ellipsis else self._tensor[index]

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Make it there."""
        return self._tensor.made_on(_CPU if device is None else torch.device(device), dtype or _DTYPE)


@lru_cache(maxsize=1)
def _drawn(name: str, count: int, spread: float) -> torch.Tensor:
    """The values that a tensor repeats; the last tensor's are kept, for a sample of it is read piece by piece."""
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return (torch.randn(count, generator=torch.Generator().manual_seed(seed)) * spread).to(_DTYPE)


def make_up(config: Mapping[str, Any], auto_class: str, architecture: str) -> SyntheticCheckpoint:
    """A checkpoint of the model that a configuration describes (its keyword arguments, with `model_type`); takes no
    memory beyond its vectors. Its matrices are made when they are asked for.

    Raises PlimsollError where the configuration does not give the named architecture.
    """
    skeleton: Any = build_skeleton(config, auto_class, architecture, str(_DTYPE).removeprefix("torch."))
    tensors = _initialised_vectors(skeleton)
    # The reverse of what a load does to names and shapes: fused experts come apart into the tensors they are saved as.
    published = revert_weight_conversion(skeleton, tensors)
    spread = _spread(skeleton.config)
    return SyntheticCheckpoint(
        model_class=type(skeleton),
        configuration=skeleton.config,
        tensors={
            name: SyntheticTensor(name, tuple(tensor.shape), spread) if tensor.is_meta else tensor
            for name, tensor in published.items()
        },
    )


def _initialised_vectors(skeleton: Any) -> dict[str, torch.Tensor]:
    """All that a checkpoint of the model holds, tied tensors once: matrices on the meta device, vectors and buffers as
    the architecture itself initialises them. The scale of a norm is one here and zero there, and noise would do for
    neither."""
    saved = skeleton.state_dict().keys()
    buffers = {name: buffer for name, buffer in skeleton.named_buffers() if name in saved}
    tensors = dict(skeleton.named_parameters()) | buffers
    for name, tensor in tensors.items():
        if tensor.dim() < 2 or name in buffers:
            _replace(skeleton, name, _blank(tensor))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        skeleton.initialize_weights()
    return {name: _initialised(skeleton.get_parameter_or_buffer(name)) for name in tensors}


def _blank(tensor: torch.Tensor) -> torch.Tensor:
    """NaN, so that what no initialisation reaches is known."""
    return torch.full(tensor.shape, math.nan if tensor.is_floating_point() else 0, dtype=tensor.dtype)


def _initialised(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, on the meta device where no initialisation reached it."""
    if tensor.is_meta or (tensor.is_floating_point() and bool(tensor.isnan().any())):
        return tensor.to("meta")
    return tensor.detach()


def _replace(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, own_name = name.rpartition(".")
    module = model.get_submodule(owner)
    if own_name in module._parameters:  # noqa: SLF001  setattr refuses a parameter that is no float
        tensor = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
    setattr(module, own_name, tensor)


def _spread(configuration: Any) -> float:
    """The standard deviation that the architecture initialises its matrices with, so that logits stay finite."""
    for config in (configuration, configuration.get_text_config()):
        spread = setting_of(config, "initializer_range")
        if spread:
            return float(spread)
    return _USUAL_SPREAD
