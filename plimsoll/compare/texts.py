"""A comparison as text: in aligned columns for a terminal, as Markdown for a pull request, as a page."""

from __future__ import annotations

from collections.abc import Sequence

from plimsoll.compare.document import document
from plimsoll.compare.fail_on import (
    EXIT_FOUND,
    EXIT_NOTHING_IN_COMMON,
    EXIT_UNDECIDED,
    Breach,
    FailCondition,
    findings,
    uncompared,
    undecided,
)
from plimsoll.compare.result import Comparison
from plimsoll.compare.rule import Change
from plimsoll.present import markdown, parts, terminal
from plimsoll.units import counted


def terminal_lines(
    comparison: Comparison,
    conditions: Sequence[FailCondition],
    status: int,
    *,
    allow_undecided: bool = False,
    quiet: bool = False,
) -> list[str]:
    """The lines: sections (none with `quiet`), a statement for each side, what `--fail-on` found, where a reader of a
    terminal looks.

    `conditions` are those of `--fail-on`, `status` the exit status that followed.
    """
    whole = document(comparison, findings(comparison, conditions))
    sections = () if quiet else whole.sections
    lines = [line for section in sections for line in (*terminal.section_lines(section), "")]
    open_ = _why_open(comparison, conditions, status, allow_undecided=allow_undecided)
    return [*lines, *terminal.block_lines(whole.blocks[:1]), *open_]


def why_not_good(
    comparison: Comparison, conditions: Sequence[FailCondition], status: int, *, allow_undecided: bool
) -> list[str]:
    """Why the status is not 0, a line each, for who prints something else behind the comparison."""
    if status == EXIT_FOUND:
        return [f"fails on {found.condition}: {found.text}" for found in findings(comparison, conditions)]
    return _why_open(comparison, conditions, status, allow_undecided=allow_undecided)


def markdown_text(comparison: Comparison, found: Sequence[Breach]) -> str:
    """The statements first, long tables folded away."""
    return markdown.document_text(document(comparison, found))


def page_text(comparison: Comparison, found: Sequence[Breach]) -> str:
    """A page that needs nothing else, for a window, a phone and paper, with a chart of each metric."""
    return parts.own_page(document(comparison, found, on_page=True))


def _why_open(
    comparison: Comparison, conditions: Sequence[FailCondition], status: int, *, allow_undecided: bool
) -> list[str]:
    """Why the status is not 0 although nothing was found."""
    if status == EXIT_NOTHING_IN_COMMON:
        return ["nothing in common: nothing was compared"]
    if status != EXIT_UNDECIDED:
        return []
    lines = []
    if FailCondition.SLOWER in conditions and undecided(comparison) and not allow_undecided:
        lines.append(
            f"undecided: {counted(undecided(comparison), 'time')} with too few samples to rule out slower ones; "
            f"{_way_out(comparison)}, or use --allow-undecided"
        )
    for lacking in uncompared(comparison, conditions, allow_undecided=allow_undecided):
        excuse = "" if lacking.condition is FailCondition.NUMERICS else ", or use --allow-undecided"
        lines.append(
            f"undecided: {lacking.text}, so nothing was held against --fail-on={lacking.condition}; "
            f"compare runs that have, leave {lacking.condition} out{excuse}"
        )
    return lines


def _way_out(comparison: Comparison) -> str:
    """What would decide it: the number of rounds that finds the change of the rule in every undecided time."""
    rows = [row for versus in comparison.versus for row in versus.times if row.word is Change.TOO_FEW]
    counts = [row.to_find for row in rows]
    if any(count is None for count in counts):
        return "no number of rounds would tell on this machine: steady it, or compare more runs"
    enough = max(count or 0 for count in counts)
    fewest = comparison.rule.fewest_rounds
    taken = min(min(len(row.base.rounds), len(row.other.rounds)) for row in rows)
    if taken < fewest:
        return (
            f"with {taken} of a side no slow-down, however large, could be found: take {enough} rounds "
            f"(--load-rounds={enough})"
        )
    return f"take {enough} rounds (--load-rounds={enough})"
