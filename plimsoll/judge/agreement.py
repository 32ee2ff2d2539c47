"""Finds devices that compute other bits than most devices of their product, and makes the request for these bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.golden import AgreementModel
from plimsoll.errors import PlimsollError
from plimsoll.host.protocol import ComputeGolden
from plimsoll.host.rates import WAYS, Bits, ComputeBits, way_name

_ATTENTION: Final = "sdpa"


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
