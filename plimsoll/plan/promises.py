"""What documents promise of a machine's memory, held against the least that a variant could do with there."""

from __future__ import annotations

from plimsoll.catalogue.entries import Variant
from plimsoll.gate.need import CONTEXT_LEAST
from plimsoll.metrics import METRICS, Place
from plimsoll.plan.planning import PlanRow
from plimsoll.units import format_bytes


def broken_promises(variant: Variant, row: PlanRow) -> list[str]:
    """A sentence for each undisputed claim that the machine's memory is enough for, though the variant cannot do with
    it; empty where the least was not predicted, or there is no such claim."""
    if row.least is None or row.available is None:
        return []
    broken = []
    for metric in METRICS.values():
        if not metric.promises_room:
            continue
        # What torch allocates is not all that a GPU must have.
        beside = 0 if metric.place is Place.GPU else CONTEXT_LEAST
        for claim in variant.claims_on(metric.name):
            high = claim.limit_high
            if high is not None and high <= row.available < row.least + beside:
                broken.append(
                    f"{claim.source} says that {variant.id} does with {format_bytes(high)}, and {row.machine} has "
                    f"{format_bytes(row.available)}; it takes {format_bytes(row.least + beside)} at least: dispute the "
                    "claim, or correct the prediction"
                )
    return broken
