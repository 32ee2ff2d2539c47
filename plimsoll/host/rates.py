"""Requests for the speed of a device and for the bits that it computes, and their replies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from plimsoll.host.protocol import ComputeGolden, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One speed of a device, per second, round by round, at the size that gave the highest."""

    best: str
    """The size that gave the highest median: `8192 x 8192 x 8192`, `1.07 GB`."""
    rounds: tuple[float, ...]
    """Operations or bytes a second, round by round, at that size."""
    medians: Mapping[str, float]
    """The median at each size that was tried."""
    error: float | None = None
    """Of what was computed: root mean square of the difference over that of the product in float64. None where nothing
    was computed but moved, and came over to the bit."""

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def spread(self) -> float:
        """The distance from the slowest round to the fastest, over the median."""
        return (max(self.rounds) - min(self.rounds)) / self.rate


def worst_error(errors: Iterable[float]) -> float:
    """The largest error; a NaN is the largest of all, which `max` keeps only where it comes first."""
    return max(errors, key=lambda error: math.inf if math.isnan(error) else error)


def of_all_ranks(answers: Sequence[Rates]) -> Rates:
    """What several ranks measured together: the speed of the slowest, and the worst error of any, which need not be the
    slowest's. Where one tells no error there is none."""
    errors = [rates.error for rates in answers if rates.error is not None]
    slowest = min(answers, key=lambda rates: rates.rate)
    return replace(slowest, error=worst_error(errors) if len(errors) == len(answers) else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureMatmul(Request[Rates]):
    """Multiply square matrices of random numbers, of each side, so many rounds.

    `dtype` is `bf16`, `fp16`, `fp32`, `tf32`, `fp8` or `int8`. Operations count as two for each multiplication.
    """

    device: str
    dtype: str
    sides: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureMemory(Request[Rates]):
    """Copy blocks of so many bytes inside the device's own memory; each byte counts as read and as written."""

    device: str
    sizes: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureLink(Request[Rates]):
    """Copy blocks of so many bytes from RAM to the device, or back; `pinned` RAM cannot be paged out."""

    device: str
    to_device: bool
    pinned: bool
    sizes: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePeer(Request[Rates]):
    """Copy blocks of so many bytes from one device to another of the same host, one way."""

    source: str
    target: str
    sizes: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureAllReduce(Request[Rates]):
    """Take part as one rank in sums over all ranks; every rank is asked at the same time.

    `meeting` is a file that does not exist yet, by which the ranks find each other. The rate is bus bandwidth: bytes
    over time, times 2 (ranks - 1) / ranks, which does not depend on how many there are.
    """

    device: str
    backend: str
    """`nccl` or `gloo`."""
    rank: int
    ranks: int
    meeting: str
    sizes: tuple[int, ...]
    rounds: int


WAYS: Final = ("whole", "token by token")
"""How the logits of a text are computed for `Bits`: in one pass, and with the cache."""


def way_name(batch: int, way: str) -> str:
    """`4 at once, whole`: what `Bits` calls one of WAYS for so many texts at once."""
    return f"{batch} at once, {way}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """What a device computes of one model, as digests over the bits of all logits."""

    digests: Mapping[str, str]
    """For each way of asking the SHA-256 in the first round."""
    rounds: int
    unsteady: Mapping[str, int]
    """The ways that gave other bits in some round, with the number of the first such round, counted from 1."""
    finite: bool
    weights_sha256: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeBits(Request[Bits]):
    """Compute the logits of a model made by a formula, with deterministic algorithms, round after round, and hash
    them: of so many texts at once, whole and token by token with the cache."""

    model: ComputeGolden
    batches: tuple[int, ...]
    """How many texts are asked at once, one way for each."""
    rounds: int
    least_seconds: float = 0.0
    """How long to go on at least, however many rounds that takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSpeed:
    """How fast the loaded model answers, round by round, in seconds."""

    batch: int
    prompt_tokens: int
    """Those that were asked for, unless the context is too short for them."""
    first: tuple[float, ...]
    """From the prompt to the first token."""
    step: tuple[float, ...]
    """A further token for every sequence of the batch: the mean over the round's tokens."""
    used: tuple[str, ...]
    """The names of the modules that a step ran and that hold parameters themselves, without the input embedding, of
    which it reads one row; with it where it is the head as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeGeneration(Request[GenerationSpeed | None]):
    """Decode greedily from random tokens, never ending early, so many rounds after one that is not counted; where the
    context is shorter, fewer tokens. None where the model's class has no cache, and each token takes the whole text
    again."""

    batch: int
    prompt_tokens: int
    new_tokens: int
    rounds: int
