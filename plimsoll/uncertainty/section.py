"""The section of report.html about uncertainty: the answers, the figures and the pictures of what the run asked.

It stands apart from the analysis, because a run without datasets must not wait for numpy, scipy and matplotlib.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.extras import why_missing
from plimsoll.present.document import Fold, Paragraph, Picture, Section, Table, plain, strong

_TITLE: Final = "Uncertainty: do the models know when they are wrong?"
_MOST_BYTES: Final = 300_000
"""Of all pictures together: the page must still be sent by mail. What is beyond stays in the files."""
_MOST_ROWS: Final = 12
"""Of a table that stands open."""


def uncertainty_section(record: RunRecord) -> Section | None:
    """The section, or None for a run that asked no dataset."""
    if not record.askings:
        return None
    if (missing := why_missing("uncertainty", "uncertainty", ("numpy", "scipy", "matplotlib"))) is not None:
        return Section(title=_TITLE, fold=Fold.OPEN, blocks=(Paragraph(words=f"not computed: {missing}"),))
    from plimsoll.uncertainty.analysis import analyse
    from plimsoll.uncertainty.document import sections
    from plimsoll.uncertainty.drawn.gallery import gallery

    analysis = analyse(record)
    pictures, left = [], _MOST_BYTES
    for picture in gallery(analysis):
        left -= len(picture.element or "")
        pictures.append(picture if left >= 0 else _left_out(picture))
    # What a reader looks at, what it says, and then the tables that it rests on.
    answers, *tables = map(_folding, sections(analysis))
    return Section(title=_TITLE, fold=Fold.OPEN, blocks=(pictures[0], answers, *tables, *pictures[1:]))


def _folding(section: Section) -> Section:
    """A section that unfolds, and stands open where its table is short."""
    is_long = any(isinstance(block, Table) and len(block.rows) > _MOST_ROWS for block in section.blocks)
    return replace(section, title=strong(plain(section.title)), level=0, fold=Fold.CLOSED if is_long else Fold.OPEN)


def _left_out(picture: Picture) -> Picture:
    if picture.element is None:
        return picture
    return replace(picture, element=None, missing="left out of this page for its size: see plimsoll uncertainty")
