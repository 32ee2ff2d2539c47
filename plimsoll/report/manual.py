"""Points from failures to the manual of the checks: what each one proves, and what to do.

A report is read where there is neither network nor checkout, so it names the page, and the command that prints it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from plimsoll.manual.place import manual_of
from plimsoll.present.document import Block, Inline, Paragraph, code
from plimsoll.report.story import check_name
from plimsoll.verdict.cells import CellResult

_MOST_PAGES: Final = 2
"""Pages that the last lines on a terminal name."""


def manual_step(failed: Iterable[CellResult]) -> list[str]:
    """A step for the terminal: the pages of the checks that failed, and how to read one without a checkout."""
    pages = dict.fromkeys(filter(None, (manual_of(result.cell.id) for result in failed)))
    if not pages:
        return []
    named = list(pages)[:_MOST_PAGES]
    more = f" and {len(pages) - len(named)} more" if len(pages) > len(named) else ""
    first = named[0].partition("#")[2]
    return [f"what each check proves: {', '.join(named)}{more} (plimsoll explain {first} prints it)"]


def manual_words(result: CellResult) -> tuple[Inline, ...]:
    """The page of the check, as a cell of a table names it; nothing for what is no check of the suite."""
    page = manual_of(result.cell.id)
    return (code(page),) if page else ()


def manual_lines(result: CellResult) -> tuple[Block, ...]:
    """A paragraph that names the page of the check; none for what is no check of the suite."""
    page = manual_of(result.cell.id)
    if not page:
        return ()
    return (Paragraph(words=(f"What {check_name(result.cell.id)} proves, and what to do: ", code(page), ".")),)
