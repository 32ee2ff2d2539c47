"""A section of report.html: a title and its content, made from the record of a run.

Whoever has more to show writes a function of this kind and names it in `plimsoll.report.sections.SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plimsoll.evidence.record import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page that unfolds under its title.

    `html` must have no script, name nothing outside of the page, and have every text of others escaped
    (`html_elements.safe`). Pictures are SVG elements in the page's variables (`plimsoll.present`).
    """

    title: str
    """Plain text."""
    html: str
    is_open: bool = True


SectionMaker = Callable[[RunRecord], Section | None]
"""Makes a section; None where the run has nothing for it. The same record must give the same bytes."""
