"""Points from failures to the manual of the checks: what each one proves, and what to do.

A report is read where there is neither network nor checkout, so report.html holds what the manual says of the checks
that failed, and the terminal and summary.md name the command that prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.manual.place import manual_of
from plimsoll.manual.reading import Entry, read_manual
from plimsoll.present.document import Block, Facts, Fold, Inline, Link, Paragraph, Section, code
from plimsoll.present.foreign_text import one_line
from plimsoll.report.naming import check_title
from plimsoll.report.story import check_name
from plimsoll.suite import suite_root
from plimsoll.verdict.cells import CellResult

_MOST_NAMED: Final = 2
"""Checks that the last lines on a terminal name."""
_BRIEF: Final = 300
"""Characters of what to do within a cell."""


def manual_step(failed: Iterable[CellResult]) -> list[str]:
    """A step for the terminal: the commands that print what the manual says of the checks that failed."""
    names = list(dict.fromkeys(check_name(result.cell.id) for result in failed if manual_of(result.cell.id)))
    if not names:
        return []
    named = [f"plimsoll explain {name}" for name in names[:_MOST_NAMED]]
    more = f" and {len(names) - len(named)} more" if len(names) > len(named) else ""
    return [f"what each check proves, and what to do: {', '.join(named)}{more}"]


def manual_of_failed(failed: Iterable[CellResult]) -> dict[str, Entry]:
    """What the manual says of the checks that failed, by the place of each, in the order of the run.

    Empty where there is no suite to read it from; a check of another release may be missing.
    """
    places = dict.fromkeys(filter(None, (manual_of(result.cell.id) for result in failed)))
    root = suite_root()
    if not places or root is None:
        return {}
    try:
        entries = {manual_of(e.check.id): e for chapter in read_manual(root) for e in chapter.entries}
    except PlimsollError:  # a suite that somebody is changing; the report is of a run that is over
        return {}
    return {place: entries[place] for place in places if place in entries}


def manual_words(result: CellResult, manual: Mapping[str, Entry], *, with_step: bool) -> tuple[Inline, ...]:
    """What to do by the manual, where asked for, and a link to all that it says, as a cell of a table has it.

    Nothing for what is no check of the suite; where its text is not at hand, the place of it.
    """
    place = manual_of(result.cell.id)
    if place not in manual:
        return (code(place),) if place else ()
    step = (f"{one_line(manual[place].do, _BRIEF)} ",) if with_step else ()
    return (*step, Link(text="What the check proves, and what to do", to=f"#{_anchor(manual[place])}"))


def manual_section(manual: Mapping[str, Entry]) -> Section | None:
    """What the manual says of each check that failed, once; None where none did."""
    if not manual:
        return None
    told = tuple(
        Section(
            title=check_title(entry.check.id),
            note=entry.check.name,
            level=2,
            anchor=_anchor(entry),
            blocks=(
                Facts(
                    pairs=(
                        ("Proves", entry.proves),
                        ("Limit", entry.limit),
                        ("Fails when", entry.fails),
                        ("What to do", entry.do),
                    )
                ),
            ),
        )
        for entry in manual.values()
    )
    return Section(title="Checks that failed: what each proves, and what to do", fold=Fold.OPEN, blocks=told)


def _anchor(entry: Entry) -> str:
    return f"manual-{entry.check.name}"


def manual_lines(result: CellResult) -> tuple[Block, ...]:
    """A paragraph that names the command which prints the manual; none for what is no check of the suite."""
    if not manual_of(result.cell.id):
        return ()
    name = check_name(result.cell.id)
    return (Paragraph(words=(f"What {name} proves, and what to do: ", code(f"plimsoll explain {name}"), ".")),)
