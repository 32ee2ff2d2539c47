"""The sections of report.html below its head, in their order: the one place to plug a new one in."""

from __future__ import annotations

from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.present.html_elements import safe, unfolding
from plimsoll.report.claims_section import claims_section
from plimsoll.report.environment_section import environment_section
from plimsoll.report.load_section import load_section
from plimsoll.report.model_section import model_section
from plimsoll.report.section import SectionMaker
from plimsoll.report.timeline_section import timeline_section

FIGURES: Final[tuple[SectionMaker, ...]] = (model_section, timeline_section)
"""What was measured; sections of rooms that come after this one in the flow stand behind these."""
RECORDS: Final[tuple[SectionMaker, ...]] = (claims_section, load_section, environment_section)
"""What one looks up."""
SECTIONS: Final = (*FIGURES, *RECORDS)


def sections_html(record: RunRecord, makers: tuple[SectionMaker, ...] = SECTIONS) -> str:
    """Every section that the run has something for."""
    made = (maker(record) for maker in makers)
    return "".join(
        unfolding(f"<h3>{safe(section.title)}</h3>", section.html, is_open=section.is_open)
        for section in made
        if section is not None
    )
