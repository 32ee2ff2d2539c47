"""The checks of each variant counted by subject, as a table of the verdict's document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.present.document import Fold, Paragraph, Section, Sign, Table, Words, code, columns
from plimsoll.units import counted
from plimsoll.verdict.cells import WORST_FIRST, CellOutcome, CellResult

NODE_ROW: Final = "(node)"
"""The row of the cells that ask the machine, not a variant."""
NO_SUBJECT: Final = "other"
"""The column of cells without a subject."""

_MANY_VARIANTS: Final = 30
_ANCHOR: Final = "variants"


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcomes of some cells."""

    counts: Counter[CellOutcome]

    @property
    def worst(self) -> CellOutcome | None:
        """The worst outcome among them; None where there are no cells."""
        return next((outcome for outcome in WORST_FIRST if self.counts[outcome]), None)

    def __str__(self) -> str:
        """`7/7`, or `5/7 (1 failed, 1 skipped)`; nothing where there are no cells."""
        if not self.counts:
            return ""
        rest = [f"{self.counts[o]} {o.word}" for o in WORST_FIRST if self.counts[o] and o is not CellOutcome.PASS]
        share = f"{self.counts[CellOutcome.PASS]}/{self.counts.total()}"
        return f"{share} ({', '.join(rest)})" if rest else share


TalliedRow = tuple[str, tuple[Tally, ...]]
"""A variant, and a tally for each subject."""


def tallies(results: Sequence[CellResult]) -> tuple[tuple[str, ...], list[TalliedRow]]:
    """The subjects, and the cells of each variant counted by subject; both in the order of the plan, the node first."""
    variants = dict.fromkeys(result.cell.variant or NODE_ROW for result in results)
    subjects = dict.fromkeys(result.cell.subject or NO_SUBJECT for result in results)
    counts = {(variant, subject): Counter[CellOutcome]() for variant in variants for subject in subjects}
    for result in results:
        counts[result.cell.variant or NODE_ROW, result.cell.subject or NO_SUBJECT][result.outcome] += 1
    ordered = sorted(variants, key=lambda variant: variant != NODE_ROW)
    return tuple(subjects), [(v, tuple(Tally(counts[v, subject]) for subject in subjects)) for v in ordered]


def variant_table(results: Sequence[CellResult]) -> list[Section]:
    """A row for each variant, a column for each subject."""
    subjects, rows = tallies(results)
    if not rows:
        return []
    table = Table(
        columns=columns("variant", *subjects), rows=tuple((code(v), *map(str, counted_)) for v, counted_ in rows)
    )
    return [Section(title="Variants", blocks=(Paragraph(words="Checks that passed, of those planned."), table))]


def variants_on_page(results: Sequence[CellResult]) -> list[Section]:
    """Many variants are folded by model; a model of which a check failed stands open, above those that are fine."""
    title = "Variants: checks that passed, of those planned"
    subjects, rows = tallies(results)
    if not rows:
        return []

    def table(some: Sequence[TalliedRow]) -> Table:
        return Table(label=title, columns=columns("Variant", *subjects), rows=tuple(map(_tallied, some)))

    note = counted(len(rows), "row")
    if len(rows) <= _MANY_VARIANTS:
        return [Section(title=title, note=note, anchor=_ANCHOR, fold=Fold.OPEN, blocks=(table(rows),))]
    models: dict[str, list[TalliedRow]] = {}
    of = {result.cell.variant: result.cell.model for result in results}
    for row in rows:
        models.setdefault(of.get(row[0]) or row[0].partition("/")[0], []).append(row)
    folded = [_model(model, found, table(found)) for model, found in models.items()]
    folded.sort(key=lambda section: section.fold is not Fold.OPEN)
    return [Section(title=title, note=note, anchor=_ANCHOR, fold=Fold.OPEN, blocks=tuple(folded))]


def _model(model: str, rows: Sequence[TalliedRow], table: Table) -> Section:
    whole = Tally(sum((tally.counts for _, found in rows for tally in found), Counter()))
    sign = Sign(outcome=(whole.worst or CellOutcome.NOT_RUN).value)
    return Section(
        title=(sign, f" {model}"),
        level=0,
        note=f"{counted(len(rows), 'variant')}, {whole}",
        fold=Fold.OPEN if whole.worst is CellOutcome.FAIL else Fold.CLOSED,
        blocks=(table,),
    )


def _tallied(row: TalliedRow) -> tuple[Words, ...]:
    variant, found = row
    return (variant, *(" " if t.worst is None else (Sign(outcome=t.worst.value), f" {t}") for t in found))
