"""report.html above its rows: the verdict, then the sections in their order, with the page's style and script.

Whoever has more to show writes a function from a record to a section and names it in `FIGURES` or `RECORDS`. No part
names anything outside of the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.present import html, parts
from plimsoll.present.document import Block, Bullets, Link, Paragraph, Section, Table, TableOfContents, Tiles, plain
from plimsoll.report.attentions import attention_section
from plimsoll.report.document import verdict_document
from plimsoll.report.gpu_memory import gpu_memory_section
from plimsoll.report.health import health_section
from plimsoll.report.metric_charts import chart_section
from plimsoll.report.models import model_section
from plimsoll.report.reader import Reader
from plimsoll.report.records import claims_section, environment_section, load_section
from plimsoll.report.timeline import timeline_section
from plimsoll.verdict.verdict import Verdict

SectionMaker = Callable[[RunRecord], Section | None]
"""Makes a section; None where the run has nothing for it. The same record must give the same bytes."""

FIGURES: Final[tuple[SectionMaker, ...]] = (
    chart_section,
    model_section,
    timeline_section,
    gpu_memory_section,
    health_section,
    attention_section,
)
"""What was measured; sections of rooms that come after this one in the flow stand behind these."""
RECORDS: Final[tuple[SectionMaker, ...]] = (claims_section, load_section, environment_section)
"""What one looks up."""
SECTIONS: Final = (*FIGURES, *RECORDS)

_ON_PAPER: Final = (
    "On paper, the rows of checks that passed or were skipped, and what is folded, are left out: the page and "
    "evidence.jsonl have all of it."
)
_SCRIPTS: Final = ("page.js", "rows.js", "search.js")


def css() -> str:
    """The style of the page, to stand after pytest-html's own."""
    return parts.css() + _beside("page.css")


def script() -> str:
    """The page's own script, which reads no text of others but to compare and show it as text."""
    return parts.script() + "".join(map(_beside, _SCRIPTS))


def head_text(record: RunRecord, verdict: Verdict, sections: tuple[SectionMaker, ...] = SECTIONS) -> str:
    """What pytest-html puts above its rows, as HTML."""
    return html.framed(css(), script(), page_blocks(record, verdict, sections))


def page_blocks(
    record: RunRecord, verdict: Verdict, sections: tuple[SectionMaker, ...] = SECTIONS
) -> tuple[Block, ...]:
    """Verdict, scope, node, what is wrong or missing, variants, and every section that the run has something for."""
    made = (maker(record) for maker in sections)
    head, *found = verdict_document(record, verdict, Reader.PAGE).blocks
    shown = [*found, *(section for section in made if section is not None)]
    named = [_named(block, place) if isinstance(block, Section) else block for place, block in enumerate(shown)]
    links = [
        Link(text=plain(one.title), to=f"#{one.anchor}", note=_amount(one)) for one in named if isinstance(one, Section)
    ]
    rows = Link(text="Every check", to="#results-table", note=f"{verdict.planned:,}")
    return (
        head,
        TableOfContents(label="Sections of this page", links=(*links, rows)),
        *named,
        Paragraph(words=_ON_PAPER, only_on_paper=True),
    )


def _amount(section: Section) -> str:
    """How much stands under a title, where it is tiles, a list or a table; else nothing."""
    for block in sorted(section.blocks, key=lambda block: not isinstance(block, Tiles)):
        match block:
            case Table():
                return f"{len(block.rows):,}"
            case Bullets():
                return f"{len(block.entries):,}"
            case Tiles():
                return f"{len(block.tiles):,}"
    return section.note.partition(" ")[0] if section.note[:1].isdigit() else ""


def _named(section: Section, place: int) -> Section:
    """The section with a name by which a link finds it."""
    return section if section.anchor else replace(section, anchor=f"section-{place}")


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
