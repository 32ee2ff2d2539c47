"""What documents promise of a machine's memory, held against the least that a variant could do with there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from plimsoll.catalogue.entries import Variant
from plimsoll.gate.need import CONTEXT_LEAST
from plimsoll.plan.planning import PlanRow
from plimsoll.units import format_bytes

_BESIDE: Final[Mapping[str, int]] = {"vram_needed": CONTEXT_LEAST, "vram_peak": 0}
"""Metrics that promise an amount of memory to be enough, with what each counts beside what torch allocates."""


def broken_promises(variant: Variant, row: PlanRow) -> list[str]:
    """A sentence for each undisputed claim that the machine's memory is enough for, though the variant cannot do with
    it; empty where the least was not predicted, or there is no such claim."""
    if row.least is None or row.available is None:
        return []
    broken = []
    for metric, beside in _BESIDE.items():
        for claim in variant.claims_on(metric):
            high = claim.limit_high
            if high is not None and high <= row.available < row.least + beside:
                broken.append(
                    f"{claim.source} says that {variant.id} does with {format_bytes(high)}, and {row.machine} has "
                    f"{format_bytes(row.available)}; it takes {format_bytes(row.least + beside)} at least: dispute the "
                    "claim, or correct the prediction"
                )
    return broken
