"""Requests about training a model, and their replies."""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.footprint.prediction import Subject
from plimsoll.footprint.training import StepParts, StepPrediction, Training
from plimsoll.host.protocol import LoadSpec, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What a step is trained on: `batch` sequences of `length` tokens, `accumulation` times before each update.

    `text` is cut into sequences, from its beginning again where it is too short; without a tokenizer, or without a
    text, tokens are drawn at random, always the same.
    """

    batch: int
    length: int
    accumulation: int = 1
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of a few steps on the same tokens."""

    losses: tuple[float, ...]
    """Nats a token before each update."""
    gradient_norms: tuple[float, ...]
    """Of each step, over all that is trained; not finite where a single gradient is not."""
    frozen_before: str
    """SHA-256 over the bits of all that is not trained."""
    frozen_after: str
    frozen_bytes: int
    trained_parameters: int
    parts: StepParts
    """Of the second step, the first that finds states of the optimizer."""
    device: str
    method: str
    """How bytes were counted: `torch's profiler of the CPU allocator`, `torch's CUDA allocator`."""
    seconds: float
    """Of a step: the median of those after the second, which is counted byte by byte; of the first where there are no
    more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(Request[Trained]):
    """Load a model, and a partner whose states cross a bridge into it where one is given, and train so many steps."""

    spec: LoadSpec
    partner: LoadSpec | None = None
    training: Training
    data: TrainingData
    steps: int
    rate: float
    """The learning rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsCompared:
    """Ways to make one update that should differ in memory alone."""

    accumulation_difference: float
    """Of the gradients of one large batch and of its sequences one by one, root mean square over the former's."""
    whole_loss: float
    again_loss: float
    """With layers computed again in the backward pass."""
    again_difference: float
    """Of the gradients then, as above."""
    whole: StepParts
    again: StepParts


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSteps(Request[StepsCompared]):
    """Load a model and compute the gradients of one batch three ways: at once, sequence by sequence, and with layers
    computed again; nothing is updated."""

    spec: LoadSpec
    training: Training
    data: TrainingData


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictStep(Request[StepPrediction]):
    """Follow a training step on the meta device; loads nothing. Answered by an error that says why, where it cannot be
    followed."""

    subject: Subject
    partner: Subject | None
    training: Training
