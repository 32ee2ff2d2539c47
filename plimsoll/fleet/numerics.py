"""Whether GPUs of one product on one stack compute the same bits on all nodes of a fleet, and which do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plimsoll.fleet.names import natural
from plimsoll.fleet.summary import NodeSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class BitsApart:
    """A device whose bits are not those of more than half of its product on its stack."""

    node: str
    gpu: str
    """Empty for a processor."""
    product: str
    ways: int
    """In how many ways of asking, over all models."""
    of: int
    check: str
    way: str
    """The first of them."""
    devices: int
    """How many computed that way, this one included."""
    agreeing: int
    """How many of those have its bits."""
    is_told: bool
    """False where no bits are those of more than half, so that nobody can say which are wrong."""

    def __str__(self) -> str:
        """`gpu2 computes other bits than most of its product: ... (batch 1, whole), 2 of 2 ways`."""
        who = f"{self.gpu} computes" if self.gpu else "computes"
        how = "other bits than most of its product" if self.is_told else "bits that no majority shares"
        return f"{who} {how}: {self.check} ({self.way}), {self.ways} of {self.of} ways"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """What was held against each other, and who is apart."""

    apart: tuple[BitsApart, ...] = ()
    devices: int = 0
    """That computed a digest."""
    groups: int = 0
    """Products on stacks, among which bits are compared."""
    alone: tuple[str, ...] = ()
    """Devices with which no other can be compared."""


_Key = tuple[str, str, str, str]
_Device = tuple[str, str]


def compare_bits(nodes: Sequence[NodeSummary]) -> Numerics:
    """Hold every digest against those of the same way of asking on the same product and stack."""
    by_key: dict[_Key, dict[_Device, set[str]]] = {}
    for key, device, digest in _digests(nodes):
        by_key.setdefault(key, {}).setdefault(device, set()).add(digest)
    groups: dict[tuple[str, str], set[_Device]] = {}
    asked: Counter[_Device] = Counter()
    apart: dict[_Device, list[tuple[_Key, int, int, bool]]] = {}
    for key, found in by_key.items():
        groups.setdefault(key[:2], set()).update(found)
        asked.update(found.keys())
        # A device whose bits were others in another run agrees with nobody, itself included.
        counts = Counter(next(iter(own)) for own in found.values() if len(own) == 1)
        common, most = counts.most_common(1)[0] if counts else ("", 0)
        is_told = 2 * most > len(found)
        for device, own in found.items():
            digest = next(iter(own))
            if len(own) > 1:
                apart.setdefault(device, []).append((key, len(found), 0, is_told))
            elif len(counts) > 1 and not (is_told and digest == common):
                apart.setdefault(device, []).append((key, len(found), counts[digest], is_told))
    alone = sorted(
        (f"{node} {gpu}".strip() for each in groups.values() if len(each) == 1 for node, gpu in each), key=natural
    )
    named = (_named(device, found, asked[device]) for device, found in apart.items())
    return Numerics(
        apart=tuple(sorted(named, key=lambda each: (natural(each.node), natural(each.gpu)))),
        devices=len(asked),
        groups=len(groups),
        alone=tuple(alone),
    )


def _digests(nodes: Sequence[NodeSummary]) -> Iterator[tuple[_Key, _Device, str]]:
    for node in nodes:
        products = {gpu.id: gpu.product or "an unknown GPU" for gpu in node.gpus}
        for one in node.digests:
            product = products.get(one.gpu, node.products[0])
            yield (product, node.stack, one.check, one.way), (node.name, one.gpu), one.digest


def _named(device: _Device, found: Sequence[tuple[_Key, int, int, bool]], asked: int) -> BitsApart:
    (product, _, check, way), devices, agreeing, is_told = found[0]
    return BitsApart(
        node=device[0],
        gpu=device[1],
        product=product,
        ways=len(found),
        of=asked,
        check=check,
        way=way,
        devices=devices,
        agreeing=agreeing,
        is_told=is_told,
    )
