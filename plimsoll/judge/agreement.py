"""Which devices compute other bits than most of their product, and what a host is asked to find out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from plimsoll.catalogue.agreement import AgreementModel
from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.host.protocol import ComputeGolden
from plimsoll.host.rates import WAYS, Bits, ComputeBits, way_name

_ATTENTION: Final = "sdpa"


def bits_request(
    model: AgreementModel, quantization: Quantization, place: str, rounds: int, least_seconds: float = 0.0
) -> ComputeBits:
    """What the host of a device is asked; `place` is torch's name of the device there."""
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
    """Raise PlimsollError where an answer does not speak of every way that was asked for, or of fewer rounds than two:
    what was not computed, or once only, agrees with everything."""
    wanted = {way_name(batch, way) for batch in request.batches for way in WAYS}
    if found.digests.keys() != wanted:
        raise PlimsollError(
            f"the host computed {', '.join(found.digests) or 'nothing'}, and was asked for {', '.join(sorted(wanted))}"
        )
    if found.rounds < max(2, request.rounds):
        raise PlimsollError(f"the host computed {found.rounds} rounds, and was asked for {max(2, request.rounds)}")


def ways_apart(device: str, found: Mapping[str, Bits]) -> tuple[str, ...]:
    """The ways in which a device's bits are not those of more than half of the devices, itself counted; `found` is by
    device. Of two that differ nobody can say which is wrong, so both are apart."""
    return tuple(way for way in found[device].digests if _most_common(way, found) != found[device].digests[way])


def minority(found: Mapping[str, Bits]) -> tuple[str, ...]:
    """The devices that are apart in any way, in their order."""
    return tuple(device for device in found if ways_apart(device, found))


def _most_common(way: str, found: Mapping[str, Bits]) -> str | None:
    """The digest that more than half of the devices have; None where there is none."""
    counts = Counter(bits.digests[way] for bits in found.values())
    digest, count = counts.most_common(1)[0]
    return digest if 2 * count > len(found) else None
