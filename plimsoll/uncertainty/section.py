"""The section of report.html about uncertainty: the answers, the figures and the pictures of what the run asked."""

from __future__ import annotations

from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.extras import why_missing
from plimsoll.present.html_elements import bullets, safe, unfolding, wide_table
from plimsoll.present.tables import Table
from plimsoll.report.section import Section

_TITLE: Final = "Uncertainty: do the models know when they are wrong?"
_MOST_BYTES: Final = 300_000
"""Of all pictures together: the page must still be sent by mail. What is beyond stays in the files."""


_MOST_ROWS: Final = 12
"""Of a table that stands open."""
_PIXELS: Final = 100
"""To an inch of a drawing, where the window is wide enough."""
_CSS: Final = """
.plimsoll .plimsoll-drawn { margin: 16px 0; }
.plimsoll .plimsoll-drawn figcaption { font-weight: normal; max-width: 75ch; }
.plimsoll .plimsoll-drawn svg { width: 100%; max-width: none; height: auto; }
"""


def uncertainty_section(record: RunRecord) -> Section | None:
    """The section, or None for a run that asked no dataset."""
    if not record.askings:
        return None
    if (missing := why_missing("uncertainty", "uncertainty", ("numpy", "scipy", "matplotlib"))) is not None:
        return Section(title=_TITLE, html=f"<p>not computed: {safe(missing)}</p>")
    # Imported here: a run without datasets must not wait for numpy, scipy and matplotlib.
    from plimsoll.uncertainty.analysis import analyse
    from plimsoll.uncertainty.document import parts
    from plimsoll.uncertainty.drawn.gallery import gallery
    from plimsoll.uncertainty.drawn.picture import CATEGORY_COLOURS

    analysis = analyse(record)
    html = [f"<style>{CATEGORY_COLOURS}{_CSS}</style>"]
    for part in parts(analysis):
        content = bullets("", [safe(line) for line in part.lines]).replace("<h3></h3>", "")
        content += "" if part.table is None else _table(part.title, part.table)
        is_short = part.table is None or len(part.table.rows) <= _MOST_ROWS
        html.append(unfolding(f"<strong>{safe(part.title)}</strong>", content, is_open=is_short))
    left = _MOST_BYTES
    for picture in gallery(analysis):
        element = picture.element or ""
        left -= len(element)
        shown = element if left >= 0 else ""
        text = picture.text if shown or not element else "left out of this page for its size: see plimsoll uncertainty"
        html.append(_figure(picture.title, shown, text, picture.width))
    return Section(title=_TITLE, html="".join(html))


def _table(title: str, table: Table) -> str:
    rows = [
        [f'<th scope="row">{safe(row[0])}</th>', *(f"<td>{safe(text)}</td>" for text in row[1:])] for row in table.rows
    ]
    return wide_table(title, table.head, rows)


def _figure(title: str, element: str, text: str, width: float) -> str:
    drawn = f'<div style="max-width:{_PIXELS * width:.0f}px">{element}</div>' if element else ""
    return (
        f'<figure class="plimsoll-drawn"><figcaption><strong>{safe(title)}</strong><br>{safe(text)}</figcaption>'
        f"{drawn}</figure>"
    )
