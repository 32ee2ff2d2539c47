"""Finds what no node's own evidence can show: a GPU that is not listed, checks that were not asked, a node that is two.

Each is told by holding nodes against each other, or against what is expected of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plimsoll.fleet.names import compressed, natural
from plimsoll.fleet.summary import NodeSummary
from plimsoll.units import counted


@dataclass(frozen=True, slots=True)
class FleetFault:
    """Why a fleet cannot be accepted, and the nodes of which that is so: they cannot be either."""

    text: str
    nodes: tuple[str, ...]


def by_node(faults: Iterable[FleetFault]) -> dict[str, tuple[str, ...]]:
    """Node -> the texts of the faults that speak of it."""
    found: dict[str, tuple[str, ...]] = {}
    for fault in faults:
        for name in fault.nodes:
            found[name] = (*found.get(name, ()), fault.text)
    return found


def gpus_twice(nodes: Iterable[NodeSummary]) -> list[FleetFault]:
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
        FleetFault(
            f"{', '.join(names)} have the same {counted(len(uuids), 'GPU')} ({uuids[0]}"
            f"{', ...' if len(uuids) > 1 else ''}); one node's evidence cannot speak for another",
            names,
        )
        for names, uuids in groups.items()
    ]


def two_machines(own: Sequence[NodeSummary], *, newest: bool) -> list[FleetFault]:
    """A fault where runs under one name have no GPU in common: they are of two machines, and one is not judged.

    With `newest` that is no fault, for the GPUs may have been exchanged, unless the runs were made at the same time.
    """
    for place, later in enumerate(own):
        for earlier in own[:place]:
            uuids = [{gpu.uuid for gpu in each.gpus if gpu.uuid is not None} for each in (earlier, later)]
            if not all(uuids) or uuids[0] & uuids[1] or (newest and not _overlap(earlier, later)):
                continue
            text = (
                f"{earlier.runs[-1].run_id} and {later.runs[-1].run_id} are both of {later.name}, and have no GPU in "
                "common; give each machine a name of its own (PLIMSOLL_NODE), or, where its GPUs were exchanged, take "
                "the newest (--newest)"
            )
            return [FleetFault(text, (later.name,))]
    return []


def _overlap(earlier: NodeSummary, later: NodeSummary) -> bool:
    """Whether one began before the other ended; of a run without an end nobody knows."""
    began, ended = later.runs[0].started, earlier.runs[-1].ended
    return began is not None and ended is not None and began < ended


def _kind(node: NodeSummary) -> tuple[str, ...]:
    """What says which nodes are held against each other: a GPU whose name cannot be read makes no kind of its own."""
    known = {gpu.product for gpu in node.gpus if gpu.product}
    return tuple(sorted(known)) or node.products


def fewer_gpus(nodes: Sequence[NodeSummary], said: Mapping[str, int]) -> list[FleetFault]:
    """A GPU that the driver does not list any more is in no plan: others of its kind tell that it is missing.

    One of them is enough: where half of the nodes lost a GPU, or most, there is no majority that has all.
    """
    faults = [
        FleetFault(
            f"{node.name} has {counted(len(node.gpus), 'GPU')}, and {said[node.name]} are expected", (node.name,)
        )
        for node in nodes
        if node.name in said and len(node.gpus) < said[node.name]
    ]
    kinds: dict[tuple[str, ...], list[NodeSummary]] = {}
    for node in nodes:
        kinds.setdefault(_kind(node), []).append(node)
    for node in nodes:
        if len(node.gpus) < node.most_gpus and node.name not in said:
            text = (
                f"{node.name} has {counted(len(node.gpus), 'GPU')} in its newest run, and had "
                f"{counted(node.most_gpus, 'GPU')} before; if that is right, say so in the file of --expect-nodes: "
                f"{node.name} {len(node.gpus)}"
            )
            faults.append(FleetFault(text, (node.name,)))
            continue
        # A node without any may be of whatever kind: its driver may see none of its GPUs.
        group = kinds[_kind(node)] if node.gpus else nodes
        usual = max(len(each.gpus) for each in group)
        if len(node.gpus) < usual and node.name not in said:
            has = [each.name for each in group if len(each.gpus) == usual]
            whose = f"most nodes of its kind have {usual}" if 2 * len(has) > len(group) else f"{has[0]} has {usual}"
            text = (
                f"{node.name} has {counted(len(node.gpus), 'GPU')}, and {whose}; if that is right, say so in the file "
                f"of --expect-nodes: {node.name} {len(node.gpus)}"
            )
            faults.append(FleetFault(text, (node.name,)))
    return faults


def asked_less(nodes: Sequence[NodeSummary]) -> list[FleetFault]:
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
            FleetFault(
                f"{node.name} was asked on {on[node.name]} of its {counted(len(node.gpus), 'GPU')}, and others of its "
                f"kind on {max(on.values())}; run the same selection on all of them",
                (node.name,),
            )
            for node in group
            if on[node.name] < max(on.values())
        ]
    return [
        *(
            FleetFault(
                f"{compressed(names)} {'was' if len(names) == 1 else 'were'} not asked {counted(len(lack), 'check')} "
                f"that others of the kind were asked, such as {lack[0]}; run the same selection on all of them",
                tuple(names),
            )
            for lack, names in found.items()
        ),
        *faults,
    ]


def not_asked_again(own: Sequence[NodeSummary]) -> list[FleetFault]:
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
    text = (
        f"the newest run of {newest.name} was not asked {counted(len(lack), 'check')} that had no good result before, "
        f"such as {check}{on}, {how}; run the same selection again"
    )
    return [FleetFault(text, (newest.name,))]
