"""The section with every load of the run, rounds one by one: what the charts above show the median of."""

from __future__ import annotations

from plimsoll.evidence.record import RunRecord
from plimsoll.present.html_elements import cell, row_head, wide_table
from plimsoll.report.section import Section
from plimsoll.units import format_bytes, format_seconds


def load_section(record: RunRecord) -> Section | None:
    """One row a load, in the order in which they happened."""
    if not record.loads:
        return None
    rows = [
        [
            row_head(load.variant),
            cell(load.cache),
            cell(format_seconds(load.seconds)),
            cell(format_bytes(load.checkpoint_bytes)),
        ]
        for load in record.loads
    ]
    table = wide_table("Loads", ("Variant", "Page cache", "from_pretrained", "Checkpoint"), rows)
    return Section(title=f"All {len(rows)} loads", html=table, is_open=False)
