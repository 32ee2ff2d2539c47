"""Memory of a training step: what is trained and how, and the bytes that each part of it takes.

Plain numbers, as in `activations`, so that a controller without torch can ask for any batch and length. What a step
holds from one phase to the next is told apart from what it needs for a moment, the workspace.
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
"""Averages that AdamW keeps of each gradient: of itself, and of its square."""
_BLOCK: Final = 256
"""Numbers of an 8-bit state that share one float32 scale (bitsandbytes 0.50, Optimizer2State)."""
_LEAST_PACKED: Final = 4096
"""Below so many numbers bitsandbytes keeps a tensor's states in float32."""
_TABLES: Final = 2 * 256 * _FLOAT32
"""The two code tables of 8-bit states, which all tensors share."""
_COPIES_ON_CPU: Final = 6
"""Float32 copies of a tensor that an 8-bit update makes on a CPU, where no kernel does it in place."""


class Mode(StrEnum):
    """What of a model is trained."""

    FULL = "full"
    """Every weight, in the dtype that it is stored in."""
    LORA = "lora"
    """Two thin float32 matrices beside each linear layer but the output head; the model itself is frozen."""
    BRIDGE = "bridge"
    """A small float32 network into the embeddings of a frozen model, from its own or from another frozen model."""


class Optimizer(StrEnum):
    """Who updates the trained weights."""

    ADAMW = "adamw"
    ADAMW_8BIT = "adamw-8bit"
    """bitsandbytes' AdamW, whose states take a byte a number."""
    SGD = "sgd"
    """Without momentum: it keeps nothing."""


DEFAULT_RANK: Final = 16
DEFAULT_BRIDGE: Final = 64 * 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained, whatever the batch. `size` is the rank of LoRA, the parameters that a bridge has at the
    most, and 0 for full training. Raises PlimsollError for a size that means nothing."""

    mode: Mode
    size: int = 0
    optimizer: Optimizer = Optimizer.ADAMW
    checkpointing: bool = False
    """True to keep only the inputs of layers, and compute the rest again in the backward pass."""

    def __post_init__(self) -> None:
        if (self.size > 0) != (self.mode is not Mode.FULL):
            what = {Mode.FULL: "no size", Mode.LORA: "a rank from 1", Mode.BRIDGE: "a number of parameters from 1"}
            raise PlimsollError(f"{self.mode} training takes {what[self.mode]}, not {self.size}")

    def __str__(self) -> str:
        size = {Mode.FULL: "", Mode.LORA: f" of rank {self.size}", Mode.BRIDGE: f" of {self.size:,} parameters"}
        again = ", layers computed again" if self.checkpointing else ""
        return f"{self.mode}{size[self.mode]}, {self.optimizer}{again}"


class Phase(StrEnum):
    """The parts of a step in time."""

    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """The bytes of one step, measured or predicted alike."""

    weights: int
    """Parameters and buffers, frozen and trained, with their quantization statistics."""
    activations: int
    """What the forward pass leaves for the backward pass, with the tokens and the loss."""
    gradients: int
    optimizer: int
    """States of the optimizer, once it has made an update."""
    peak: int
    """The most in use at once, in a step after the first: all of the above is there, and more for a moment."""
    phase: Phase
    """When that was."""
    accumulated: bool = False
    """True where earlier parts of a batch had left gradients when the forward pass began."""

    @property
    def held(self) -> int:
        """What is kept through the phase of the peak."""
        passing = self.phase is not Phase.UPDATE
        gradients = self.gradients if self.accumulated or not passing else 0
        return self.weights + self.optimizer + gradients + (self.activations if passing else 0)

    @property
    def workspace(self) -> int:
        """What was there for a moment only, when most was in use."""
        return self.peak - self.held


PARTS: Final = ("weights", "activations", "gradients", "optimizer", "workspace", "peak")
"""The names of the parts, in the order in which they are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrediction:
    """What a training step takes of one device, for any batch and length. Moments are without weights, states of the
    optimizer and earlier gradients; sequences are of one length."""

    weights: int
    trained_parameters: int
    gradients: int
    optimizer: int
    updating_on_cpu: int
    """Bytes that the update of the largest tensor takes for a moment; on a GPU it takes none."""
    kept: Moment
    """What lies between the two passes."""
    forward: tuple[Moment, ...]
    backward: tuple[Moment, ...]
    """Of the first part of a batch, whose gradients come to be on the way."""
    backward_again: tuple[Moment, ...]
    """Of a later part, which finds all gradients there and adds to them."""

    def at(self, batch: int, length: int, *, accumulation: int = 1, device: str = "cuda") -> StepParts:
        """The parts of a step whose batches, `accumulation` of them, have `batch` sequences of `length` tokens."""
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
    """Bytes of an optimizer's states for trained tensors, each given by its numbers and the bytes of one.

    torch's fused AdamW counts its steps in a float32 a tensor; bitsandbytes' 8-bit one counts in Python.
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
    """Bytes that an update takes for a moment on a CPU, for tensors of so many numbers: kernels work in place, but for
    8-bit states there."""
    if optimizer is not Optimizer.ADAMW_8BIT:
        return 0
    return _COPIES_ON_CPU * _FLOAT32 * max((count for count in counts if count >= _LEAST_PACKED), default=0)


def bridge_width(size: int, entering: int, leaving: int) -> int:
    """The inner width of a bridge of at most so many parameters between two hidden sizes. Raises PlimsollError where
    not even one inner number fits."""
    width = size // (entering + leaving)
    if width < 1:
        raise PlimsollError(
            f"a bridge from a width of {entering} to one of {leaving} has at least {entering + leaving:,} parameters, "
            f"and {size:,} were asked for"
        )
    return width
