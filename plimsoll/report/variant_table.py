"""The table that both the summary and the page show: each variant against each subject, as counts of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.verdict.cells import WORST_FIRST, CellOutcome, CellResult

NODE_ROW: Final = "(node)"
"""The row of the cells that ask the machine, not a variant."""
NO_SUBJECT: Final = "other"
"""The column of cells without a subject."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcomes of some cells."""

    counts: Counter[CellOutcome]

    @property
    def worst(self) -> CellOutcome | None:
        """The worst outcome among them; None where there are no cells."""
        return next((outcome for outcome in WORST_FIRST if self.counts[outcome]), None)

    @property
    def is_fine(self) -> bool:
        """True where every cell passed, or there is none."""
        return self.worst in (CellOutcome.PASS, None)

    def __str__(self) -> str:
        """`7/7`, or `5/7 (1 failed, 1 skipped)`; nothing where there are no cells."""
        if not self.counts:
            return ""
        rest = [f"{self.counts[o]} {o.word}" for o in WORST_FIRST if self.counts[o] and o is not CellOutcome.PASS]
        share = f"{self.counts[CellOutcome.PASS]}/{self.counts.total()}"
        return f"{share} ({', '.join(rest)})" if rest else share


@dataclass(frozen=True, slots=True)
class VariantTable:
    """`rows` are variants with one tally for each of `subjects`, both in the order of the plan."""

    subjects: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Tally, ...]], ...]


def variant_table(results: Sequence[CellResult]) -> VariantTable:
    """Count the cells of each variant and subject; cells of the node come first."""
    variants = dict.fromkeys(result.cell.variant or NODE_ROW for result in results)
    subjects = dict.fromkeys(result.cell.subject or NO_SUBJECT for result in results)
    counts = {(variant, subject): Counter[CellOutcome]() for variant in variants for subject in subjects}
    for result in results:
        counts[result.cell.variant or NODE_ROW, result.cell.subject or NO_SUBJECT][result.outcome] += 1
    ordered = sorted(variants, key=lambda variant: variant != NODE_ROW)
    return VariantTable(
        subjects=tuple(subjects),
        rows=tuple((v, tuple(Tally(counts[v, subject]) for subject in subjects)) for v in ordered),
    )
