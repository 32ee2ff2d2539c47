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
from enum import StrEnum
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.fleet.differences import Difference, find_differences
from plimsoll.fleet.draining import drain_reason
from plimsoll.fleet.expected import Expected
from plimsoll.fleet.names import compressed, natural
from plimsoll.fleet.numerics import Numerics, compare_bits
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All nodes as one."""

    word: Word
    nodes: tuple[NodeSummary, ...]
    """By name; a node of several runs is in here once."""
    expected: Expected
    missing: tuple[str, ...]
    faults: tuple[str, ...]
    """Why the fleet cannot be accepted whatever its nodes say."""
    notes: tuple[str, ...]
    differences: tuple[Difference, ...]
    outliers: OutlierSearch
    numerics: Numerics
    stragglers: tuple[Straggler, ...]
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
            who = f"{apart.gpu} computes" if apart.gpu else "computes"
            how = "other bits than most of its product" if apart.is_told else "bits that no majority shares"
            text = f"{who} {how}: {apart.check} ({apart.way}), {apart.ways} of {apart.of} ways"
            found.setdefault(apart.node, []).append(text)
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
) -> Fleet:
    """Judge the nodes as one.

    A node with several runs that have nothing to do with each other counts by the worst of them; with `newest`, by
    that which began last.
    """
    asked_for = expected or Expected()
    nodes, notes, dropped = _one_a_node(summaries, newest=newest)
    names = [node.name for node in nodes]
    missing = asked_for.missing(names)
    faults = [
        *_left_nothing(asked_for, missing, len(nodes)),
        *(f"{each.path}: {each.why}" for each in unreadable),
        *_gpus_twice(nodes),
        *_fewer_gpus(nodes, asked_for.gpus),
        *_asked_less(nodes),
        *dropped,
    ]
    if surplus := asked_for.surplus(names):
        notes.append(f"nobody expects {compressed(surplus)}, and all the same they count")
    if asked_for.total is None:
        notes.append("a node that left nothing is not missed: --expect-nodes says which there are")
    elif asked_for.count is not None and len(nodes) > asked_for.count:
        notes.append(f"{asked_for.count} nodes were expected, and {len(nodes)} left evidence")
    numerics = compare_bits(nodes)
    return Fleet(
        word=_word(nodes, faults, numerics),
        nodes=tuple(nodes),
        expected=asked_for,
        missing=missing,
        faults=tuple(faults),
        notes=tuple(notes),
        differences=find_differences(nodes),
        outliers=find_outliers(_figures(nodes)),
        numerics=numerics,
        stragglers=find_stragglers(nodes),
        fail_on=fail_on,
    )


def _left_nothing(expected: Expected, missing: Sequence[str], found: int) -> list[str]:
    if not missing:
        return []
    if expected.names:
        return [f"no evidence of {compressed(missing)}"]
    return [f"{counted(expected.count or 0, 'node')} are expected, and {found} left evidence"]


def _is_excused(node: NodeSummary) -> bool:
    return node.word is Word.ACCEPTED or (node.allow_incomplete and node.planned > 0 and not node.faults)


def _word(nodes: Sequence[NodeSummary], faults: Sequence[str], numerics: Numerics) -> Word:
    if numerics.apart or any(node.word is Word.REJECTED for node in nodes):
        return Word.REJECTED
    if nodes and not faults and all(node.word is Word.ACCEPTED for node in nodes):
        return Word.ACCEPTED
    return Word.INCOMPLETE


def _one_a_node(summaries: Sequence[NodeSummary], *, newest: bool) -> tuple[list[NodeSummary], list[str], list[str]]:
    """The nodes by name, notes, and faults."""
    by_name: dict[str, list[NodeSummary]] = {}
    for summary in summaries:
        by_name.setdefault(summary.name, []).append(summary)
    nodes, several, faults = [], [], []
    for name, own in sorted(by_name.items(), key=lambda item: natural(item[0])):
        own.sort(key=_age)
        nodes.append(own[-1] if newest else _worst_of(own))
        if len(own) > 1:
            several.append(name)
            faults += _not_asked_again(own) if newest else []
    if not several:
        return nodes, [], []
    how = "the newest of each counts" if newest else "the worst outcome of each check counts; --newest takes the last"
    return nodes, [f"several runs of {compressed(several)}: {how}"], faults


def _age(summary: NodeSummary) -> tuple[bool, str, str]:
    """A key that sorts the newest last. A run whose start is lost may be the newest, and so counts as that."""
    last = summary.runs[-1]
    return last.started is None, last.started or "", last.run_id


def _not_asked_again(own: Sequence[NodeSummary]) -> list[str]:
    """A fault where the newest run was not asked what had no good result before: only a newer answer replaces one."""
    newest = own[-1]
    bad: dict[tuple[str, str], str] = {}
    for each in own[:-1]:
        for one in each.asked:
            bad.pop((one.check, one.gpu), None)
            if not one.outcome.is_good:
                bad[one.check, one.gpu] = f"{one.outcome.word} in {each.runs[-1].run_id}"
    asked = {(one.check, one.gpu) for one in newest.asked}
    lack = [(check, gpu, how) for (check, gpu), how in bad.items() if (check, gpu) not in asked]
    if not lack:
        return []
    check, gpu, how = lack[0]
    on = f" on {gpu}" if gpu else ""
    return [
        f"the newest run of {newest.name} was not asked {counted(len(lack), 'check')} that had no good result before, "
        f"such as {check}{on}, {how}; run the same selection again"
    ]


def _worst_of(own: Sequence[NodeSummary]) -> NodeSummary:
    """One summary of unrelated runs: figures and facts of the newest that has any, the worst outcome of each check, and
    the bits that any run on the same stack computed."""
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
        allow_incomplete=all(each.allow_incomplete for each in own),
        planned=len(asked),
        runs=tuple(run for each in own for run in each.runs),
        asked=tuple(asked.values()),
        reasons=tuple(dict.fromkeys(reason for each in own for reason in each.reasons)),
        faults=tuple(f"{each.runs[-1].run_id}: {fault}" for each in own for fault in each.faults),
        digests=tuple(dict.fromkeys(one for each in own if each.stack == newest.stack for one in each.digests)),
    )


def _gpus_twice(nodes: Iterable[NodeSummary]) -> list[str]:
    """The evidence of one node must not stand for two."""
    holders: dict[str, list[str]] = {}
    for node in nodes:
        for gpu in node.gpus:
            if gpu.uuid is not None:
                holders.setdefault(gpu.uuid, []).append(node.name)
    groups: dict[tuple[str, ...], list[str]] = {}
    for uuid, names in holders.items():
        if len(names) > 1:
            groups.setdefault(tuple(sorted(names, key=natural)), []).append(uuid)
    return [
        f"{', '.join(names)} have the same {counted(len(uuids), 'GPU')} ({uuids[0]}"
        f"{', ...' if len(uuids) > 1 else ''}); one node's evidence cannot speak for another"
        for names, uuids in groups.items()
    ]


def _kind(node: NodeSummary) -> tuple[str, ...]:
    """What says which nodes are held against each other: a GPU whose name cannot be read makes no kind of its own."""
    known = {gpu.product for gpu in node.gpus if gpu.product}
    return tuple(sorted(known)) or node.products


def _fewer_gpus(nodes: Sequence[NodeSummary], said: Mapping[str, int]) -> list[str]:
    """A GPU that the driver does not list any more is in no plan: others of its kind tell that it is missing.

    One of them is enough: where half of the nodes lost a GPU, or most, there is no majority that has all.
    """
    faults = [
        f"{node.name} has {counted(len(node.gpus), 'GPU')}, and {said[node.name]} are expected"
        for node in nodes
        if node.name in said and len(node.gpus) < said[node.name]
    ]
    kinds: dict[tuple[str, ...], list[NodeSummary]] = {}
    for node in nodes:
        kinds.setdefault(_kind(node), []).append(node)
    for node in nodes:
        # A node without any may be of whatever kind: its driver may see none of its GPUs.
        group = kinds[_kind(node)] if node.gpus else nodes
        usual = max(len(each.gpus) for each in group)
        if len(node.gpus) < usual and node.name not in said:
            has = [each.name for each in group if len(each.gpus) == usual]
            whose = f"most nodes of its kind have {usual}" if 2 * len(has) > len(group) else f"{has[0]} has {usual}"
            faults.append(
                f"{node.name} has {counted(len(node.gpus), 'GPU')}, and {whose}; if that is right, say so in the file "
                f"of --expect-nodes: {node.name} {len(node.gpus)}"
            )
    return faults


def _asked_less(nodes: Sequence[NodeSummary]) -> list[str]:
    """Nodes that were not asked what another of their kind was, or not on as many of their GPUs: nobody knows how they
    would have done."""
    kinds: dict[tuple[object, ...], list[NodeSummary]] = {}
    for node in nodes:
        kinds.setdefault((_kind(node), len(node.gpus)), []).append(node)
    found: dict[tuple[str, ...], list[str]] = {}
    faults = []
    for group in kinds.values():
        checks = {node.name: {one.check for one in node.asked} for node in group}
        every = set().union(*checks.values())
        for name, own in checks.items():
            if lack := every - own:
                found.setdefault(tuple(sorted(lack)), []).append(name)
        on = {node.name: len({gpu for one in node.asked for gpu in one.gpu.split("+") if gpu}) for node in group}
        faults += [
            f"{node.name} was asked on {on[node.name]} of its {counted(len(node.gpus), 'GPU')}, and others of its kind "
            f"on {max(on.values())}; run the same selection on all of them"
            for node in group
            if on[node.name] < max(on.values())
        ]
    return [
        *(
            f"{compressed(names)} {'was' if len(names) == 1 else 'were'} not asked {counted(len(lack), 'check')} that "
            f"others of the kind were asked, such as {lack[0]}; run the same selection on all of them"
            for lack, names in found.items()
        ),
        *faults,
    ]


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
