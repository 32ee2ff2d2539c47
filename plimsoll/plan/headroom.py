"""Computes a GPU's headroom for training: the largest safe batch, what limits it, and what would give more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from plimsoll.catalogue.entries import Variant
from plimsoll.errors import PlimsollError
from plimsoll.footprint.training import DEFAULT_RANK, PARTS, Mode, StepParts, StepPrediction, Training
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.plan.estimates import largest
from plimsoll.plan.predictions import PredictionError, Predictions

RESERVE: Final = 0.10
"""The share, of all that a step takes besides weights, that is kept free: losses of a caching allocator between blocks
and kernels' memory within an operation are not predicted. Not measured on a GPU."""
MOST_SEQUENCES: Final = 2**20
_MOST_IN_TABLE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The training whose headroom is wanted."""

    variant: Variant
    partner: Variant | None
    """The frozen model whose states cross a bridge into `variant`; None for none."""
    training: Training
    length: int
    accumulation: int = 1

    @property
    def name(self) -> str:
        """`llama-3.1-8b/bf16 + mistral-7b-v0.3/bf16`: the partner first, as its states come first."""
        return " + ".join(one.id for one in (self.partner, self.variant) if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """A predicted training step on a GPU with so many bytes."""

    wanted: Wanted
    step: StepPrediction
    memory: int

    def parts(self, batch: int, length: int | None = None) -> StepParts:
        """The memory of a step with so many sequences at once."""
        return self.step.at(batch, length or self.wanted.length, accumulation=self.wanted.accumulation)

    def left(self, batch: int, length: int | None = None) -> int:
        """Bytes that a step and the CUDA context leave free; negative for a lack."""
        return self.memory - CONTEXT_ALLOWANCE - self.parts(batch, length).peak

    def reserve(self, batch: int, length: int | None = None) -> int:
        """Bytes that must stay free for a batch to be safe."""
        parts = self.parts(batch, length)
        return int(RESERVE * (parts.peak - parts.weights))

    def is_safe(self, batch: int, length: int | None = None) -> bool:
        """True where at least the reserve is left."""
        return self.left(batch, length) >= self.reserve(batch, length)

    def safe_batch(self, length: int | None = None) -> int:
        """The largest safe number of sequences at once; 0 where one is too many."""
        return largest(lambda batch: self.is_safe(batch, length), MOST_SEQUENCES)

    @property
    def limit(self) -> str:
        """The largest part of the smallest unsafe batch: one of PARTS."""
        parts = self.parts(self.safe_batch() + 1)
        return max(PARTS[:-1], key=lambda name: int(getattr(parts, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """The batch that another way to train would allow."""

    training: Training
    batch: int | None
    """The largest safe batch; None where the step could not be predicted."""
    why: str = ""
    """Why it could not be predicted."""


def headroom_of(wanted: Wanted, memory: int, predictions: Predictions) -> Headroom:
    """The headroom for a training on a GPU with so many bytes. Raises PredictionError, and HostStartError."""
    return Headroom(
        wanted=wanted, step=predictions.step(wanted.training, wanted.variant, wanted.partner), memory=memory
    )


def otherwise(wanted: Wanted, memory: int, predictions: Predictions) -> Iterator[Otherwise]:
    """The alternatives: recomputing layers, and LoRA instead of full training."""
    for training in _ways(wanted):
        try:
            other = headroom_of(replace(wanted, training=training), memory, predictions)
        except PredictionError as error:
            yield Otherwise(training=training, batch=None, why=str(error))
        else:
            yield Otherwise(training=training, batch=other.safe_batch())


def _ways(wanted: Wanted) -> Iterator[Training]:
    own = wanted.training
    yield replace(own, checkpointing=not own.checkpointing)
    if wanted.partner is None and own.mode is not Mode.LORA:
        for again in (own.checkpointing, not own.checkpointing):
            yield replace(own, mode=Mode.LORA, size=DEFAULT_RANK, checkpointing=again)


def table_sizes(room: Headroom) -> tuple[Sequence[int], Sequence[int]]:
    """The batches and lengths of the table: powers of two up to the first that is too many; and a quarter, half, once
    and twice the length."""
    context = room.wanted.length
    lengths = sorted({max(1, context // 4), max(1, context // 2), context, 2 * context})
    most = max(1, room.safe_batch(lengths[0]))
    batches = [2**power for power in range(most.bit_length() + 1)]
    own = [room.safe_batch()] if room.safe_batch() else []
    return sorted({*batches[:_MOST_IN_TABLE], *own}), lengths


def parse_count(text: str) -> int:
    """Read `64M` as 64,000,000; `k`, `M` and `G` are powers of a thousand. Raises PlimsollError for anything else."""
    scale = {"k": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
    digits = text[:-1] if scale > 1 else text
    if not digits.isdecimal() or int(digits) < 1:
        raise PlimsollError(f"must be a number of parameters such as 64M or 250k, not {text!r}")
    return int(digits) * scale
