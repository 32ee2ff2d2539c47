"""Computes the memory of a training step, by its parts, for each way to train.

Plain numbers, as in `activations`, so that a controller without torch can compute any batch and length. Memory that a
step holds from one phase to the next is distinct from the workspace, which it needs only for a moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.footprint.activations import Moment, highest

_FLOAT32: Final = 4
_STATES: Final = 2
"""Averages that AdamW keeps for each gradient: of the gradient, and of its square."""
_BLOCK: Final = 256
"""Numbers of an 8-bit state that share one float32 scale (bitsandbytes 0.50, Optimizer2State)."""
_LEAST_PACKED: Final = 4096
"""For tensors with fewer numbers bitsandbytes keeps the states in float32."""
_TABLES: Final = 2 * 256 * _FLOAT32
"""The two code tables of 8-bit states, which all tensors share."""
_COPIES_ON_CPU: Final = 6
"""Float32 copies of a tensor in an 8-bit update on a CPU, where no kernel works in place."""


class Mode(StrEnum):
    """The trained part of a model."""

    FULL = "full"
    """Every weight, in its stored dtype."""
    LORA = "lora"
    """Two thin float32 matrices beside each linear layer except the output head; the model itself is frozen."""
    BRIDGE = "bridge"
    """A small float32 network into the embeddings of a frozen model, from that model or from another frozen one."""


class Optimizer(StrEnum):
    """The optimizer of the trained weights."""

    ADAMW = "adamw"
    ADAMW_8BIT = "adamw-8bit"
    """bitsandbytes' AdamW, whose states take one byte a number."""
    SGD = "sgd"
    """Without momentum, so without states."""


DEFAULT_RANK: Final = 16
DEFAULT_BRIDGE: Final = 64 * 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained, for any batch. `size` is the rank of LoRA, the largest number of parameters of a bridge,
    and 0 for full training. Raises PlimsollError for an invalid size."""

    mode: Mode
    size: int = 0
    optimizer: Optimizer = Optimizer.ADAMW
    checkpointing: bool = False
    """True to keep only the inputs of layers, and recompute the rest in the backward pass."""

    def __post_init__(self) -> None:
        if (self.size > 0) != (self.mode is not Mode.FULL):
            what = {Mode.FULL: "no size", Mode.LORA: "a rank from 1", Mode.BRIDGE: "a number of parameters from 1"}
            raise PlimsollError(f"{self.mode} training takes {what[self.mode]}, not {self.size}")

    def __str__(self) -> str:
        size = {Mode.FULL: "", Mode.LORA: f" of rank {self.size}", Mode.BRIDGE: f" of {self.size:,} parameters"}
        again = ", layers computed again" if self.checkpointing else ""
        return f"{self.mode}{size[self.mode]}, {self.optimizer}{again}"


class Phase(StrEnum):
    """The phases of a step."""

    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """The bytes of one step, measured or predicted."""

    weights: int
    """All parameters and buffers, frozen and trained, with their quantization statistics."""
    activations: int
    """What the forward pass leaves for the backward pass, with the tokens and the loss."""
    gradients: int
    optimizer: int
    """States of the optimizer, once it has made an update."""
    peak: int
    """The peak of a step after the first: all of the above, and the workspace."""
    phase: Phase
    """The phase of the peak."""
    accumulated: bool = False
    """True where gradients of earlier parts of the batch were there when the forward pass began."""

    @property
    def held(self) -> int:
        """The bytes that are held throughout the phase of the peak."""
        passing = self.phase is not Phase.UPDATE
        gradients = self.gradients if self.accumulated or not passing else 0
        return self.weights + self.optimizer + gradients + (self.activations if passing else 0)

    @property
    def workspace(self) -> int:
        """The bytes that were in use only for a moment, at the peak."""
        return self.peak - self.held


PARTS: Final = ("weights", "activations", "gradients", "optimizer", "workspace", "peak")
"""The names of the parts, in the order of reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrediction:
    """The memory of a training step on one device, for any batch and length. Moments exclude weights, optimizer states
    and earlier gradients; sequences have one length."""

    weights: int
    trained_parameters: int
    gradients: int
    optimizer: int
    updating_on_cpu: int
    """Temporary bytes for the update of the largest tensor; 0 on a GPU."""
    kept: Moment
    """What is held between the two passes."""
    forward: tuple[Moment, ...]
    backward: tuple[Moment, ...]
    """For the first part of a batch, which creates the gradients."""
    backward_again: tuple[Moment, ...]
    """For a later part, which adds to the gradients."""
    alone: StepPrediction | None = None
    """The same for batches of one sequence, where they take something else: products of matrices take views of it, and
    keep what those are views of, where they copy parts of a larger batch."""

    def at(self, batch: int, length: int, *, accumulation: int = 1, device: str = "cuda") -> StepParts:
        """The parts of a step with `accumulation` batches of `batch` sequences of `length` tokens."""
        if batch == 1 and self.alone is not None:
            return self.alone.at(batch, length, accumulation=accumulation, device=device)
        again = accumulation > 1
        earlier = self.gradients if again else 0
        heights = {
            Phase.FORWARD: highest(self.forward, batch, length) + earlier,
            Phase.BACKWARD: highest(self.backward_again if again else self.backward, batch, length),
            Phase.UPDATE: self.gradients + (self.updating_on_cpu if device == "cpu" else 0),
        }
        phase = max(heights, key=heights.__getitem__)
        return StepParts(
            weights=self.weights,
            activations=self.kept.at(batch, length),
            gradients=self.gradients,
            optimizer=self.optimizer,
            peak=self.weights + self.optimizer + heights[phase],
            phase=phase,
            accumulated=again,
        )


def optimizer_bytes(tensors: Iterable[tuple[int, int]], optimizer: Optimizer) -> int:
    """Bytes of an optimizer's states for trained tensors, each given by its count of numbers and the bytes of one.
    torch's fused AdamW has a float32 step counter for each tensor; bitsandbytes' 8-bit AdamW counts in Python.
    """
    if optimizer is Optimizer.SGD:
        return 0
    if optimizer is Optimizer.ADAMW:
        return sum(_STATES * count * itemsize + _FLOAT32 for count, itemsize in tensors)
    counts = [count for count, _ in tensors]
    packed = sum(_STATES * (count + math.ceil(count / _BLOCK) * _FLOAT32) for count in counts if count >= _LEAST_PACKED)
    plain = sum(_STATES * count * _FLOAT32 for count in counts if count < _LEAST_PACKED)
    return plain + packed + (_TABLES if packed else 0)


def updating_on_cpu(counts: Iterable[int], optimizer: Optimizer) -> int:
    """Temporary bytes of an update on a CPU, for tensors of so many numbers: kernels work in place, except for 8-bit
    states."""
    if optimizer is not Optimizer.ADAMW_8BIT:
        return 0
    return _COPIES_ON_CPU * _FLOAT32 * max((count for count in counts if count >= _LEAST_PACKED), default=0)


def bridge_width(size: int, entering: int, leaving: int) -> int:
    """The inner width of a bridge with at most so many parameters between two hidden sizes. Raises PlimsollError where
    not even width 1 fits."""
    width = size // (entering + leaving)
    if width < 1:
        raise PlimsollError(
            f"a bridge from a width of {entering} to one of {leaving} has at least {entering + leaving:,} parameters, "
            f"and {size:,} were asked for"
        )
    return width
