"""The verdict over all nodes of a fleet, and everything that it rests on.

A fleet is accepted where every node that is expected left evidence, every node is accepted, all were asked the same,
and no GPU computes other bits than its like. What is merely odd (another driver, a GPU that is slower than the others,
a node that took long) is named and does not change the word: each node's own limits have judged it. `--fail-on` makes
it a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.fleet.age import in_no_order, old_among, too_old
from plimsoll.fleet.completeness import (
    FleetFault,
    asked_less,
    by_node,
    fewer_gpus,
    gpus_twice,
    not_asked_again,
    two_machines,
)
from plimsoll.fleet.differences import Difference, find_differences
from plimsoll.fleet.draining import drain_command, drain_reason
from plimsoll.fleet.expected import Expected
from plimsoll.fleet.names import compressed, natural
from plimsoll.fleet.numerics import BitsApart, Numerics, compare_bits
from plimsoll.fleet.outliers import FigureKey, FigureValue, OutlierSearch, find_outliers
from plimsoll.fleet.reading import Unreadable
from plimsoll.fleet.stragglers import Straggler, find_stragglers
from plimsoll.fleet.summary import Asked, NodeSummary
from plimsoll.units import counted
from plimsoll.usertoml.suggest import did_you_mean
from plimsoll.verdict.cells import WORST_FIRST, CellOutcome
from plimsoll.verdict.verdict import EXIT_ACCEPTED, EXIT_INCOMPLETE, EXIT_NOTHING_PLANNED, EXIT_REJECTED, Word

_WORST_WORD: Final = (Word.REJECTED, Word.INCOMPLETE, Word.ACCEPTED)


class Condition(StrEnum):
    """What `--fail-on` may name."""

    DIFFERENCE = "difference"
    OUTLIER = "outlier"
    STRAGGLER = "straggler"


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """All nodes as one."""

    word: Word
    nodes: tuple[NodeSummary, ...]
    """By name; a node of several runs is in here once."""
    expected: Expected
    missing: tuple[str, ...]
    faults: tuple[str, ...]
    """Why the fleet cannot be accepted whatever its nodes say."""
    in_doubt: Mapping[str, tuple[str, ...]]
    """Node -> those of the faults that speak of it."""
    notes: tuple[str, ...]
    differences: tuple[Difference, ...]
    outliers: OutlierSearch
    numerics: Numerics
    stragglers: tuple[Straggler, ...]
    figures: Mapping[FigureKey, Sequence[FigureValue]]
    """What was held against what."""
    fail_on: tuple[Condition, ...] = ()

    @property
    def planned(self) -> int:
        """Checks that were planned on all nodes."""
        return sum(node.planned for node in self.nodes)

    @property
    def breaches(self) -> tuple[Condition, ...]:
        """What of `--fail-on` was found."""
        found = {
            Condition.DIFFERENCE: self.differences,
            Condition.OUTLIER: self.outliers.outliers,
            Condition.STRAGGLER: self.stragglers,
        }
        return tuple(condition for condition in self.fail_on if found[condition])

    @property
    def exit_status(self) -> int:
        """That of a verdict; REJECTED's also where something of `--fail-on` was found."""
        if self.word is Word.REJECTED or self.breaches:
            return EXIT_REJECTED
        if self.word is Word.ACCEPTED:
            return EXIT_ACCEPTED
        if not self.planned and not self.missing and not self.faults:
            return EXIT_NOTHING_PLANNED
        excused = not self.faults and not self.missing and all(_is_excused(node) for node in self.nodes)
        return EXIT_ACCEPTED if excused else EXIT_INCOMPLETE

    def count(self, word: Word) -> int:
        """The nodes with this verdict."""
        return sum(node.word is word for node in self.nodes)

    def word_of(self, node: NodeSummary) -> Word:
        """The verdict on a node among the others, who may know better than its own evidence."""
        told = [one.is_told for one in self._apart.get(node.name, ())]
        if node.word is Word.REJECTED or any(told):
            return Word.REJECTED
        return Word.INCOMPLETE if told or node.name in self.in_doubt else node.word

    def why(self, node: NodeSummary) -> list[str]:
        """What the others know of a node: the bits that it does not share with them, and what of it is in doubt."""
        return [*map(str, self._apart.get(node.name, ())), *self.in_doubt.get(node.name, ())]

    @cached_property
    def _apart(self) -> dict[str, list[BitsApart]]:
        found: dict[str, list[BitsApart]] = {}
        for one in self.numerics.apart:
            found.setdefault(one.node, []).append(one)
        return found

    def drain(self, node: NodeSummary) -> str | None:
        """The command that takes a rejected node out of service, for somebody to read and to run."""
        if self.word_of(node) is not Word.REJECTED:
            return None
        if node.word is Word.REJECTED:
            return drain_command(node.name, reason_of(node))
        one = next(one for one in self._apart[node.name] if one.is_told)
        reason = f"{one.gpu or 'the processor'} computes other bits than most of its product"
        return drain_command(node.name, drain_reason(reason))

    @property
    def statement(self) -> str:
        """`INCOMPLETE over 8 expected nodes: 6 accepted, 1 incomplete, 1 without evidence; ...`."""
        counts = [(self.count(word), word.value.lower()) for word in (Word.ACCEPTED, Word.REJECTED, Word.INCOMPLETE)]
        lost = self._lost
        texts = [f"{count} {word}" for count, word in counts if count or word == "accepted"]
        texts += [f"{lost} without evidence"] if lost else []
        total = self.expected.total
        whole = f"{counted(total, 'expected node')}" if total is not None else counted(len(self.nodes), "node")
        apart = f"; {counted(len(self.numerics.apart), 'device')} with other bits" if self.numerics.apart else ""
        more = f" (and {counted(len(self.faults) - 1, 'more fault')})" if len(self.faults) > 1 else ""
        fault = f"; {self.faults[0].partition('; ')[0]}{more}" if self.faults and self.word is Word.INCOMPLETE else ""
        return f"{self.word} over {whole}: {', '.join(texts)}{apart}{fault}"

    @property
    def _lost(self) -> int:
        if self.expected.names:
            return len(self.missing)
        return max(0, (self.expected.count or 0) - len(self.nodes))

    def oddities(self) -> dict[str, list[str]]:
        """Node -> what is odd about it beside its verdict: its minority of facts, slowness, bits, wall time."""
        found: dict[str, list[str]] = {}
        for apart in self.numerics.apart:
            found.setdefault(apart.node, []).append(str(apart))
        for outlier in self.outliers.outliers:
            found.setdefault(outlier.node, []).append(str(outlier))
        for straggler in self.stragglers:
            found.setdefault(straggler.node, []).append(str(straggler))
        for difference in self.differences:
            if (majority := difference.majority) is None:
                continue
            for group in difference.minority:
                for holder in group.holders:
                    gpus = f" of {', '.join(holder.gpus)}" if holder.gpus else ""
                    text = f"{difference.what}{gpus} is {group.value}; on most it is {majority.value}"
                    found.setdefault(holder.node, []).append(text)
        return found


def read_conditions(text: str) -> tuple[Condition, ...]:
    """The words of `--fail-on`. Raises PlimsollError for one that there is not."""
    found = []
    for word in (part.strip() for part in text.split(",")):
        if word not in tuple(Condition):
            known = ", ".join(Condition)
            hint = did_you_mean(word, tuple(Condition))
            raise PlimsollError(f"{word!r} is none of {known}" + (f"; {hint}" if hint else ""))
        found.append(Condition(word))
    return tuple(dict.fromkeys(found))


def judge_fleet(
    summaries: Sequence[NodeSummary],
    unreadable: Sequence[Unreadable] = (),
    expected: Expected | None = None,
    fail_on: tuple[Condition, ...] = (),
    *,
    newest: bool = False,
    now: datetime | None = None,
    most_age: timedelta | None = None,
) -> Fleet:
    """Judge the nodes as one.

    A node with several runs that have nothing to do with each other counts by the worst of them; with `newest`, by
    that which began last. With `most_age`, no run that counts may have ended longer before `now`.
    """
    asked_for = expected or Expected()
    at = clock.now() if now is None else now
    nodes, notes, of_several = _one_a_node(summaries, at, newest=newest)
    names = [node.name for node in nodes]
    missing = asked_for.missing(names)
    lacking = [
        *gpus_twice(nodes),
        *fewer_gpus(nodes, asked_for.gpus),
        *asked_less(nodes),
        *of_several,
        *(too_old(nodes, at, most_age) if most_age is not None else ()),
    ]
    unread = [FleetFault(f"{each.path}: {each.why}", _beside(Path(each.path), summaries)) for each in unreadable]
    faults = [
        *_left_nothing(asked_for, missing, len(nodes)),
        *(fault.text for fault in (*unread, *lacking)),
    ]
    if surplus := asked_for.surplus(names):
        notes.append(f"nobody expects {compressed(surplus)}, and all the same they count")
        notes += _otherwise_named(missing, surplus)
    notes += [] if most_age is not None else old_among(nodes)
    if asked_for.total is None:
        notes.append("a node that left nothing is not missed: --expect-nodes says which there are")
    elif asked_for.count is not None and len(nodes) > asked_for.count:
        notes.append(f"{asked_for.count} nodes were expected, and {len(nodes)} left evidence")
    numerics = compare_bits(nodes)
    figures = _figures(nodes)
    return Fleet(
        word=_word(nodes, faults, numerics),
        nodes=tuple(nodes),
        expected=asked_for,
        missing=missing,
        faults=tuple(faults),
        in_doubt=by_node([*unread, *lacking]),
        notes=tuple(notes),
        differences=find_differences(nodes),
        outliers=find_outliers(figures),
        numerics=numerics,
        stragglers=find_stragglers(nodes),
        figures=figures,
        fail_on=fail_on,
    )


def _left_nothing(expected: Expected, missing: Sequence[str], found: int) -> list[str]:
    if not missing:
        return []
    if expected.names:
        return [f"no evidence of {compressed(missing)}"]
    return [f"{counted(expected.count or 0, 'node')} are expected, and {found} left evidence"]


def _otherwise_named(missing: Iterable[str], surplus: Iterable[str]) -> list[str]:
    """A note on names that differ from expected ones by their domain or their case alone."""
    short = {name.partition(".")[0].lower() for name in missing}
    alike = [name for name in surplus if name.partition(".")[0].lower() in short]
    return (
        [f"{compressed(alike)}: expected under another name? Set PLIMSOLL_NODE, or expect that name"] if alike else []
    )


def _beside(path: Path, summaries: Iterable[NodeSummary]) -> tuple[str, ...]:
    """The node whose folder evidence that says nothing lies in, where runs of that node alone lie there."""
    folder = path.parent.parent
    names = {each.name for each in summaries for run in each.runs if Path(run.folder).parent == folder}
    return tuple(names) if len(names) == 1 else ()


def _is_excused(node: NodeSummary) -> bool:
    return node.word is Word.ACCEPTED or (node.allow_incomplete and node.planned > 0 and not node.faults)


def _word(nodes: Sequence[NodeSummary], faults: Sequence[str], numerics: Numerics) -> Word:
    if numerics.apart or any(node.word is Word.REJECTED for node in nodes):
        return Word.REJECTED
    if nodes and not faults and all(node.word is Word.ACCEPTED for node in nodes):
        return Word.ACCEPTED
    return Word.INCOMPLETE


def _one_a_node(
    summaries: Sequence[NodeSummary], now: datetime, *, newest: bool
) -> tuple[list[NodeSummary], list[str], list[FleetFault]]:
    """The nodes by name, notes, and faults."""
    by_name: dict[str, list[NodeSummary]] = {}
    for summary in summaries:
        by_name.setdefault(summary.name, []).append(summary)
    nodes, several, faults = [], [], []
    for name, own in sorted(by_name.items(), key=lambda item: natural(item[0])):
        own.sort(key=_age)
        chosen = own[-1] if newest else _worst_of(own)
        nodes.append(replace(chosen, most_gpus=max(each.most_gpus for each in own)))
        if len(own) > 1:
            several.append(name)
            faults += two_machines(own, newest=newest)
            faults += [*not_asked_again(own), *in_no_order(own, now)] if newest else []
    if not several:
        return nodes, [], []
    how = "the newest of each counts" if newest else "the worst outcome of each check counts; --newest takes the last"
    return nodes, [f"several runs of {compressed(several)}: {how}"], faults


def _age(summary: NodeSummary) -> tuple[bool, str, str]:
    """A key that sorts the newest last. A run whose start is lost may be the newest, and so counts as that."""
    last = summary.runs[-1]
    return last.started is None, last.started or "", last.run_id


def _worst_of(own: Sequence[NodeSummary]) -> NodeSummary:
    """One summary of unrelated runs: figures and facts of the newest that has any, the worst outcome of each check, the
    tiles of the worst, and the bits that any run on the same stack computed."""
    if len(own) == 1:
        return own[0]
    newest = next((each for each in reversed(own) if each.facts), own[-1])
    worst = min(own, key=lambda each: _WORST_WORD.index(each.word))
    asked: dict[tuple[str, str], Asked] = {}
    for each in own:
        for one in each.asked:
            had = asked.get((one.check, one.gpu))
            if had is None or WORST_FIRST.index(one.outcome) < WORST_FIRST.index(had.outcome):
                asked[one.check, one.gpu] = one
    return replace(
        newest,
        word=worst.word,
        statement=worst.statement,
        scope=" + ".join(dict.fromkeys(each.scope for each in own)),
        allow_incomplete=all(each.allow_incomplete for each in own),
        planned=len(asked),
        runs=tuple(run for each in own for run in each.runs),
        asked=tuple(asked.values()),
        reasons=tuple(dict.fromkeys(reason for each in own for reason in each.reasons)),
        tiles=worst.tiles,
        faults=tuple(f"{each.runs[-1].run_id}: {fault}" for each in own for fault in each.faults),
        digests=tuple(dict.fromkeys(one for each in own if each.stack == newest.stack for one in each.digests)),
    )


def _figures(nodes: Iterable[NodeSummary]) -> dict[FigureKey, list[FigureValue]]:
    found: dict[FigureKey, list[FigureValue]] = {}
    for node in nodes:
        products = {gpu.id: gpu.product or "an unknown GPU" for gpu in node.gpus}
        for one in node.figures:
            product = products.get(one.gpu) or " + ".join(node.products)
            key = FigureKey(product=product, check=one.check, metric=one.metric, unit=one.unit)
            found.setdefault(key, []).append(FigureValue(node.name, one.gpu, one.value))
    return found


def outcome_counts(node: NodeSummary) -> Counter[CellOutcome]:
    """How many checks of a node ended in which way."""
    return Counter(one.outcome for one in node.asked)


def reason_of(node: NodeSummary) -> str:
    """Why a node is to be drained: its verdict, and the first check that failed."""
    failed = next((each for each in node.reasons if each.outcome is CellOutcome.FAIL), None)
    if failed is not None:
        name = failed.check.partition("::")[2] or failed.check
        return drain_reason(f"{node.word}, {name}: {failed.reason.partition(chr(10))[0]}")
    first = node.faults[0] if node.faults else (node.reasons[0].reason if node.reasons else "no reason is known")
    return drain_reason(f"{node.word}, {first}" if node.word is not Word.ACCEPTED else "ACCEPTED")
