"""A comparison as plain text in aligned columns, the statements last, where a reader of a terminal looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plimsoll.compare.document import document
from plimsoll.compare.fail_on import EXIT_NOTHING_IN_COMMON, EXIT_UNDECIDED, Condition, findings, undecided
from plimsoll.compare.result import Comparison
from plimsoll.present.foreign_text import one_line
from plimsoll.present.tables import aligned
from plimsoll.verdict.verdict import counted

_LONGEST: Final = 2000


def terminal_lines(
    comparison: Comparison, conditions: Sequence[Condition], status: int, *, quiet: bool = False
) -> list[str]:
    """The lines: sections (none with `quiet`), a statement for each side, what `--fail-on` found.

    `conditions` are those of `--fail-on`, `status` the exit status that followed.
    """
    whole = document(comparison)
    lines = []
    for section in () if quiet else whole.sections:
        lines.append(section.title)
        lines += [f"  {one_line(line, _LONGEST)}" for line in section.lines]
        lines += [] if section.table is None else aligned(section.table)
        lines.append("")
    lines += [one_line(statement, _LONGEST) for statement in whole.statements]
    found = findings(comparison, conditions)
    lines += [f"fails on {finding.condition}: {one_line(finding.text, _LONGEST)}" for finding in found]
    return lines + _why_open(comparison, status)


def _why_open(comparison: Comparison, status: int) -> list[str]:
    """Why the status is not 0 although nothing was found."""
    if status == EXIT_NOTHING_IN_COMMON:
        return ["nothing in common: nothing was compared"]
    if status == EXIT_UNDECIDED:
        return [
            f"undecided: {counted(undecided(comparison), 'time')} with too few samples to rule out slower ones; "
            "take more rounds, or use --allow-undecided"
        ]
    return []
