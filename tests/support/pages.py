"""What a page shows of a run, as HTML."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.evidence.record import RunRecord
from plimsoll.present.document import Block, Section
from plimsoll.present.html import framed
from plimsoll.report.page import SECTIONS, SectionMaker, page_blocks
from plimsoll.verdict.verdict import Verdict


def fragment(blocks: Iterable[Block]) -> str:
    """Some blocks as report.html has them, without what frames them."""
    _, opened, drawn = framed("", "", blocks).partition('<div class="plimsoll">')
    assert opened
    return drawn.removesuffix("</div>")


def header(record: RunRecord, verdict: Verdict) -> str:
    """Everything above the rows of report.html."""
    return f'<div class="plimsoll">{fragment(page_blocks(record, verdict))}</div>'


def html_of(section: Section | None) -> str:
    """A section by itself; fails where there is none."""
    assert section is not None
    return fragment([section])


def sections_html(record: RunRecord, makers: tuple[SectionMaker, ...] = SECTIONS) -> str:
    """Every section that the run has something for."""
    return fragment([section for maker in makers if (section := maker(record)) is not None])
