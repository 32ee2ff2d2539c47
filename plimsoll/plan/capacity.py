"""The largest context and the largest batch that fit beside a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import Workload

_MOST_TOKENS: Final = 2**24
"""Where an architecture names no limit of its own."""
_MOST_SEQUENCES: Final = 2**16
REPLY: Final = 256
"""New tokens that a batch must have room for beyond its prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What fits on a machine with a variant loaded. None where cache and activations were not predicted."""

    context: int | None
    """The longest prompt of one sequence, in tokens, with room for a token more; 0 where not even one fits."""
    whole_context: bool
    """True where that is all that the architecture was made for."""
    batch: int | None
    """The most prompts of `length` tokens at once, with room for 256 new ones each."""
    length: int


def capacity(demand: Demand, room: Mapping[int, int], length: int) -> Capacity:
    """The capacity of places with so many bytes each, contexts taken off. RAM that is not among them is not looked
    at."""
    if demand.prediction.cache is None or demand.prediction.activations is None:
        return Capacity(context=None, whole_context=False, batch=None, length=length)
    limit = demand.prediction.facts.context_length or _MOST_TOKENS

    def fits(workload: Workload) -> bool:
        return all(
            size <= room.get(place, 0) for place, size in demand.at(workload).items() if place != RAM or RAM in room
        )

    context = largest(lambda tokens: fits(Workload(batch=1, prompt=tokens, new=1)), limit)
    prompt = min(length, limit)
    batch = largest(lambda size: fits(Workload(batch=size, prompt=prompt, new=REPLY)), _MOST_SEQUENCES)
    return Capacity(context=context, whole_context=context == limit, batch=batch, length=prompt)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to `most` that fits, where all below it fit too; 0 where 1 does not."""
    if fits(most):
        return most
    below, above = 0, most
    while above - below > 1:
        middle = (below + above) // 2
        if fits(middle):
            below = middle
        else:
            above = middle
    return below
