"""Parts that several topics of the verdict's document are made of: lists with a rest, texts that are cut, folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from plimsoll.present.document import Block, Bullets, Cell, Fold, Link, Section
from plimsoll.report.naming import check_anchor, check_title
from plimsoll.verdict.cells import CellOutcome, CellResult

BELOW: Final = "in the rows below"
LONGEST_REASON: Final = 2000
"""Characters of a reason above the rows; the last words of a host can be long."""


def of_outcome(results: Iterable[CellResult], outcome: CellOutcome) -> list[CellResult]:
    """The results that ended so."""
    return [result for result in results if result.outcome is outcome]


def listed(title: str, entries: Sequence[Cell], most: int | None = None, rest: str = BELOW) -> Section | None:
    """A section with a list of these entries; None where there is none."""
    if not entries:
        return None
    return Section(title=title, blocks=(Bullets(entries=tuple(entries), most=most, rest=rest),))


def cut(text: str) -> str:
    """A text that is not too long for the head of a page."""
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…\n(the row below has the rest)"


def unfolding(title: str, *blocks: Block) -> Section:
    """Blocks that unfold under a title that is no heading."""
    return Section(title=title, level=0, fold=Fold.CLOSED, blocks=blocks)


def check_link(result: CellResult) -> Link:
    """What the check is called, with what it was asked of where no variant says that; leads to its row."""
    cell = result.cell
    parameter = cell.id.partition("[")[2].rpartition("]")[0] if cell.variant is None else ""
    of = parameter.removeprefix(f"{cell.gpu}-") if parameter != cell.gpu else ""
    # Of what stands in an address a browser takes `%41` for `A`.
    to = f"#{check_anchor(cell.id).replace('%', '%25')}"
    return Link(text=f"{check_title(cell.id)}{f': {of}' if of else ''}", to=to, title=cell.id)
