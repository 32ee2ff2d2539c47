"""Judges what golden models compute: how far their logits are from the expected ones, and which devices compute other
bits than most devices of their product.

The arithmetic is plain, without any library that computes logits.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.golden import AgreementModel, GoldenModel, floats
from plimsoll.errors import PlimsollError
from plimsoll.host.protocol import ComputeGolden, GoldenLogits
from plimsoll.host.rates import WAYS, Bits, ComputeBits, way_name

_ATTENTION: Final = "sdpa"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenErrors:
    """The relative RMS error (root of the mean squared difference over that of the expected logits) of each way."""

    ways: Mapping[str, float]

    @property
    def worst(self) -> str:
        """The way of computing with the largest error; one that gave NaN comes before all others."""
        return max(self.ways, key=lambda way: math.inf if math.isnan(self.ways[way]) else self.ways[way])


def golden_request(model: GoldenModel, quantization: Quantization, device: str) -> ComputeGolden:
    """The request to a host for the logits of a golden model."""
    return ComputeGolden(
        family=model.family,
        architecture=model.architecture,
        config=model.config,
        tensors=model.tensors,
        quantization=quantization,
        device=device,
        tokens=model.asked(quantization),
        texts=model.texts,
        # Packing and attention are independent: for packed weights one attention is enough.
        attentions=("sdpa",) if quantization.is_quantized else ("sdpa", "eager"),
        long_tokens=model.asked_long(quantization),
        long_attentions=() if quantization.is_quantized else ("sdpa",),
    )


def golden_errors(model: GoldenModel, request: ComputeGolden, answer: GoldenLogits) -> GoldenErrors:
    """The errors of a host's answer.

    Raises PlimsollError where the answer is for other weights or ways than requested, and where the file of expected
    logits was changed.
    """
    if answer.weights_sha256 != model.weights_sha256:
        raise PlimsollError(
            f"the weights of the golden {model.family} came out otherwise here ({answer.weights_sha256:.16}, not "
            f"{model.weights_sha256:.16}), so integer arithmetic in torch is wrong on this machine, or the suite was "
            "edited: `python -m benchmarks.golden.make --check` tells"
        )
    expected = model.expected(request.quantization)
    if request.long_tokens:
        expected += model.expected_long()
    wanted = {f"{attention}, {way}": rows for attention in request.attentions for way, rows in _rows(model, request)}
    for attention in request.long_attentions:
        wanted |= {f"{attention}, {way}": rows for way, rows in _long_rows(model, request)}
    if answer.ways.keys() != wanted.keys():
        raise PlimsollError(f"the host computed {', '.join(answer.ways)}, and was asked for {', '.join(wanted)}")
    width = model.config["vocab_size"]
    return GoldenErrors(
        ways={way: _error(way, floats(answer.ways[way]), expected, rows, width) for way, rows in wanted.items()}
    )


def _rows(model: GoldenModel, request: ComputeGolden) -> Iterator[tuple[str, list[int]]]:
    """For each way of computing, the rows of the expected logits that it must give, in order. Attention is causal, so
    the first tokens of a text have the same logits as in the whole text."""
    texts = model.texts
    starts = [number * texts.tokens for number in range(len(request.tokens))]

    def rows(first: int, counts: Sequence[int]) -> list[int]:
        return [start + first + place for start, count in zip(starts, counts, strict=True) for place in range(count)]

    yield "whole", rows(0, [texts.tokens] * len(starts))
    yield "token by token", rows(texts.prefix, [texts.decoded] * len(starts))
    yield "padded", rows(0, texts.padded[: len(starts)])


def _long_rows(model: GoldenModel, request: ComputeGolden) -> Iterator[tuple[str, list[int]]]:
    """The same for the long text, whose expected logits come after those of the others."""
    start = len(request.tokens) * model.texts.tokens
    kept = range(start, start + len(model.texts.long_kept))
    yield "long", [*kept]
    yield "long, token by token", [*kept[-model.texts.long_decoded :]]


def _error(way: str, found: array[float], expected: array[float], rows: list[int], width: int) -> float:
    if len(found) != len(rows) * width:
        raise PlimsollError(f"{way}: {len(found)} logits, not {len(rows) * width}")
    wrong = size = 0.0
    for number, row in enumerate(rows):
        mine, right = found[number * width : (number + 1) * width], expected[row * width : (row + 1) * width]
        wrong += math.dist(mine, right) ** 2
        size += math.hypot(*right) ** 2
    return math.sqrt(wrong / size)


def bits_request(
    model: AgreementModel, quantization: Quantization, place: str, rounds: int, least_seconds: float = 0.0
) -> ComputeBits:
    """The request to the host of a device; `place` is torch's name of the device there."""
    return ComputeBits(
        model=ComputeGolden(
            family=model.base.family,
            architecture=model.base.architecture,
            config=model.config,
            tensors=model.tensors,
            quantization=quantization,
            device=place,
            tokens=model.base.tokens,
            texts=model.base.texts,
            attentions=(_ATTENTION,),
        ),
        batches=model.batches,
        rounds=rounds,
        least_seconds=least_seconds,
    )


def refuse_other_bits(request: ComputeBits, found: Bits) -> None:
    """Raise PlimsollError for an answer that lacks a requested way of computing, or has fewer rounds than requested:
    what was not computed, or only once, would agree with everything."""
    wanted = {way_name(batch, way) for batch in request.batches for way in WAYS}
    if found.digests.keys() != wanted:
        raise PlimsollError(
            f"the host computed {', '.join(found.digests) or 'nothing'}, and was asked for {', '.join(sorted(wanted))}"
        )
    if found.rounds < max(2, request.rounds):
        raise PlimsollError(f"the host computed {found.rounds} rounds, and was asked for {max(2, request.rounds)}")


def ways_apart(device: str, found: Mapping[str, Bits]) -> tuple[str, ...]:
    """The ways of computing in which a device's bits are not those of more than half of the devices, including itself;
    `found` is by device. Where two devices differ, nobody can say which is wrong, so both count as apart."""
    return tuple(way for way in found[device].digests if _most_common(way, found) != found[device].digests[way])


def minority(found: Mapping[str, Bits]) -> tuple[str, ...]:
    """The devices that are apart in at least one way, in their order."""
    return tuple(device for device in found if ways_apart(device, found))


def _most_common(way: str, found: Mapping[str, Bits]) -> str | None:
    """The digest that more than half of the devices have; None where there is none."""
    counts = Counter(bits.digests[way] for bits in found.values())
    digest, count = counts.most_common(1)[0]
    return digest if 2 * count > len(found) else None
