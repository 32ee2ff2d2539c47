"""Nodes against checks, as a table.

Nodes whose checks ended alike share a row, under a name that Slurm takes (`gpu[01-16]`); a node that is not wholly well
has a row for each of its GPUs too. So a thousand nodes fit on a page that is read in a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from plimsoll.fleet.names import compressed, natural
from plimsoll.fleet.summary import Asked, NodeSummary
from plimsoll.present.document import Cell, Paragraph, Section, Sign, Table, code, columns
from plimsoll.present.foreign_text import one_line
from plimsoll.verdict.cells import WORST_FIRST, CellOutcome

MOST_COLUMNS: Final = 24
LONGEST_NAMES: Final = 300
"""Characters of a list of nodes."""
_MOST_ROWS: Final = 1200

_Name = Callable[[str], str]


def _file(check: str) -> str:
    return check.partition("::")[0].rpartition("/")[2].removesuffix(".py").removeprefix("test_")


def _asks(check: str) -> str:
    return check.partition("::")[2].partition("[")[0].removeprefix("test_")


def question_of(check: str) -> str:
    """What a check asks, and of what: `ecc`, `matmul[bf16]`."""
    return check.partition("::")[2].removeprefix("test_") or check


def _column_of(nodes: Iterable[NodeSummary]) -> _Name:
    """The finest name of checks that leaves a table which a person can read."""
    checks = {one.check for node in nodes for one in node.asked}
    for name in (question_of, _asks):
        if len({name(check) for check in checks}) <= MOST_COLUMNS:
            return name
    return _file


def matrix_section(nodes: Sequence[NodeSummary]) -> Section | None:
    """The table; None where nothing was asked."""
    name = _column_of(nodes)
    heads = tuple(dict.fromkeys(name(one.check) for node in nodes for one in node.asked))
    if not heads:
        return None
    patterns: dict[tuple[object, ...], list[NodeSummary]] = {}
    for node in nodes:
        # A node that is not wholly well has a row of its own, for which GPU it is must be told.
        is_well = all(one.outcome is CellOutcome.PASS for one in node.asked)
        own = _cells(node.asked, heads, name)
        patterns.setdefault((len(node.gpus), *map(str, own), "" if is_well else node.name), []).append(node)
    rows: list[tuple[Cell, ...]] = []
    for group in sorted(patterns.values(), key=lambda group: (_badness(group[0]), natural(group[0].name))):
        rows += _rows(group, heads, name)
    shown = rows[:_MOST_ROWS]
    rest = len(rows) - len(shown)
    more = [Paragraph(words=f"and {rest} more rows, in fleet.json")] if rest else []
    how = "Rows are nodes, and GPUs of those that are not wholly well; a cell is the worst of its checks."
    return Section(
        title="Nodes, GPUs and checks",
        anchor="matrix",
        blocks=(
            Paragraph(words=how),
            Table(columns=columns("node", "GPUs", *heads), rows=tuple(shown), notable=_MOST_ROWS),
            *more,
        ),
    )


def _badness(node: NodeSummary) -> int:
    return min((WORST_FIRST.index(one.outcome) for one in node.asked), default=len(WORST_FIRST))


def _rows(group: Sequence[NodeSummary], heads: Sequence[str], name: _Name) -> list[tuple[Cell, ...]]:
    first = group[0]
    names = compressed(node.name for node in group)
    several = f" ({len(group)} nodes)" if len(group) > 1 else ""
    label = f"{one_line(names, LONGEST_NAMES)}{several}"
    rows: list[tuple[Cell, ...]] = [
        (code(label), str(len(first.gpus) or "none"), *_cells(first.asked, heads, name)),
    ]
    if len(group) == 1 and len(first.gpus) > 1 and _badness(first) < WORST_FIRST.index(CellOutcome.PASS):
        for gpu in first.gpus:
            own = [one for one in first.asked if gpu.id in one.gpu.split("+")]
            if own:
                rows.append((f"{first.name} {gpu.id}", "", *_cells(own, heads, name)))
    return rows


def _cells(asked: Iterable[Asked], heads: Sequence[str], name: _Name) -> list[Cell]:
    found: dict[str, list[CellOutcome]] = {}
    for one in asked:
        found.setdefault(name(one.check), []).append(one.outcome)
    return [_cell(found.get(head, [])) for head in heads]


def _cell(outcomes: Sequence[CellOutcome]) -> Cell:
    if not outcomes:
        return ""
    worst = min(outcomes, key=WORST_FIRST.index)
    alike = outcomes.count(worst)
    sign = Sign(outcome=worst.value)
    return sign if alike == len(outcomes) else (sign, f" {alike}/{len(outcomes)}")
