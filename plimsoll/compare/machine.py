"""Compares the machines behind two sides: whether they are alike enough, and what differs.

A difference of times means nothing before the reader knows that the driver changed, that the other node has another
processor, or that one checkpoint came from the page cache. So every fact of the node goes in here, also those that
the node gains after this was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from plimsoll.compare.side import ComparedFact, Machine, Side, Timed
from plimsoll.evidence.record import RunRecord
from plimsoll.node.node import Gpu, Node
from plimsoll.units import format_bytes

NOT_RECORDED: Final = "not recorded"

_CLOCK_TOLERANCE: Final = 0.05
"""Processors report a clock that wanders by some percent."""
_FREE_TOLERANCE: Final = 0.25
"""Free memory is never twice the same; a quarter less may be another tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDifference:
    """A fact in which the sides are not alike, with what each says; `not recorded` where one says nothing."""

    label: str
    texts: tuple[str, ...]


def machine_of_run(record: RunRecord, scope: str, timed: Sequence[Timed]) -> Machine:
    """The machine that a run recorded, and how the run was made; `scope` is what its verdict speaks of."""
    node = record.node
    info = {} if record.machine is None else record.machine
    machine = Machine(gpus=None, cpu=None, facts={}) if node is None else machine_of_node(node)
    facts = {
        **machine.facts,
        **_clock_fact(info.get("machine_info")),
        **_run_facts(record, scope),
        **_timing_facts(timed),
        **_cache_facts(record),
    }
    return replace(machine, facts=facts)


def machine_of_node(node: Node) -> Machine:
    """The machine, without how any run was made."""
    return Machine(gpus=tuple(sorted(map(_gpu_kind, node.gpus))), cpu=node.cpu.model, facts=_node_facts(node))


def machine_of_benchmark_file(content: Mapping[str, Any], timed: Sequence[Timed]) -> Machine:
    """The machine that a file of pytest-benchmark names: never its GPUs."""
    info = content.get("machine_info")
    machine: Mapping[str, Any] = info if isinstance(info, Mapping) else {}
    cpu = machine.get("cpu")
    brand = cpu.get("brand_raw") if isinstance(cpu, Mapping) else None
    named = {
        "host": machine.get("node"),
        "kernel": machine.get("release"),
        "Python": machine.get("python_version"),
        "processor": brand,
        "commit": _commit(content.get("commit_info")),
        "package pytest-benchmark": content.get("version"),
    }
    facts = {label: ComparedFact(text=str(value)) for label, value in named.items() if value}
    return Machine(
        gpus=None,
        cpu=brand if isinstance(brand, str) else None,
        facts={**facts, **_clock_fact(machine), **_timing_facts(timed)},
    )


def differences(sides: Sequence[Side]) -> tuple[MachineDifference, ...]:
    """What is not alike between the first side and any other, in the order of the facts."""
    labels = dict.fromkeys(label for side in sides for label in side.machine.facts)
    found = []
    for label in labels:
        facts = [side.machine.facts.get(label) for side in sides]
        first = facts[0]
        if any((first is None) is not (f is None) or (first and f and not first.is_like(f)) for f in facts[1:]):
            texts = tuple(NOT_RECORDED if fact is None else fact.text for fact in facts)
            found.append(MachineDifference(label=label, texts=texts))
    return tuple(found)


def unlike(ours: Machine, our_name: str, theirs: Machine, their_name: str) -> tuple[str, ...]:
    """Why times of the two must not be held against each other; empty where nothing forbids it."""
    reasons = []
    if ours.gpus != theirs.gpus and not _says_nothing(ours, theirs):
        reasons.append(f"{our_name} has {_gpus_text(ours.gpus)}, {their_name} has {_gpus_text(theirs.gpus)}")
    if ours.cpu != theirs.cpu:
        reasons.append(f"the processor of {our_name} is {_cpu(ours)}, that of {their_name} is {_cpu(theirs)}")
    elif ours.cpu is None:
        reasons.append("neither side says what processor it ran on")
    return tuple(reasons)


def _says_nothing(ours: Machine, theirs: Machine) -> bool:
    """A file of pytest-benchmark never names GPUs: beside a machine without any, that is no difference."""
    return {ours.gpus, theirs.gpus} == {None, ()}


def _gpus_text(gpus: Sequence[str] | None) -> str:
    if gpus is None:
        return "no word about GPUs"
    return " and ".join(f"{n} x {kind}" for kind, n in Counter(gpus).items()) or "no GPU"


def _cpu(machine: Machine) -> str:
    return machine.cpu or NOT_RECORDED


def _gpu_kind(gpu: Gpu) -> str:
    """What makes two GPUs the same product: name, memory, split or whole."""
    memory = "memory not read" if gpu.memory_total is None else f"{gpu.memory_total / 2**30:.0f} GiB"
    return f"{gpu.name or f'a GPU whose name was not read ({gpu.uuid})'} with {memory}{', split (MIG)' * bool(gpu.mig)}"


def _node_facts(node: Node) -> dict[str, ComparedFact]:
    read = [
        ("driver", node.driver),
        ("CUDA of the driver", node.cuda),
        *((f"GPU {gpu.index} {label}", text) for gpu in node.gpus for label, text in _gpu_facts(gpu)),
        ("host", node.hostname),
        ("processor", node.cpu.model),
        ("processor architecture", node.cpu.architecture),
        ("processor features", " ".join(node.cpu.features)),
        ("logical cores", str(node.cpu.logical_cores)),
        ("RAM", format_bytes(node.memory.total)),
        ("RAM limit", None if node.memory.limit is None else format_bytes(node.memory.limit)),
        ("disk", f"{node.disk.path} ({node.disk.filesystem or 'file system not read'})"),
        ("system", node.system),
        ("kernel", node.kernel),
        ("Python", node.python),
        *((f"package {name}", version) for name, version in node.packages.items()),
        *((f"environment {name}", value) for name, value in node.environment.items()),
    ]
    facts = {label: ComparedFact(text=text or "none") for label, text in read}
    facts["free RAM at the start"] = _free(node.memory.available)
    for gpu in node.gpus:
        if gpu.memory_free is not None:
            facts[f"GPU {gpu.index} free memory at the start"] = _free(gpu.memory_free)
    return facts


def _gpu_facts(gpu: Gpu) -> list[tuple[str, str | None]]:
    memory = None if gpu.memory_total is None else format_bytes(gpu.memory_total)
    return [
        ("name", gpu.name),
        ("UUID", gpu.uuid),
        ("serial", gpu.serial),
        ("VBIOS", gpu.vbios),
        ("memory", memory),
        ("MIG", None if gpu.mig is None else ("on" if gpu.mig else "off")),
    ]


def _free(count: int) -> ComparedFact:
    return ComparedFact(text=format_bytes(count), value=float(count), tolerance=_FREE_TOLERANCE)


def _clock_fact(info: object) -> dict[str, ComparedFact]:
    cpu = info.get("cpu") if isinstance(info, Mapping) else None
    if not isinstance(cpu, Mapping):
        return {}
    clock, text = cpu.get("hz_actual"), cpu.get("hz_actual_friendly")
    if not (isinstance(clock, (list, tuple)) and clock and isinstance(clock[0], (int, float)) and text):
        return {}
    return {"processor clock": ComparedFact(text=str(text), value=float(clock[0]), tolerance=_CLOCK_TOLERANCE)}


def _run_facts(record: RunRecord, scope: str) -> dict[str, ComparedFact]:
    facts = {}
    if record.run is not None:
        facts["Plimsoll"] = record.run.plimsoll
        facts["selection"] = scope
        facts["arguments"] = " ".join(record.run.arguments) or "none"
        for file in record.run.catalogues:
            name = "/".join(str(file.get("path", "unnamed")).split("/")[-2:])
            own = "" if file.get("shipped") else ", not the shipped one"
            facts[f"catalogue {name}"] = f"SHA-256 {str(file.get('sha256'))[:12]}{own}"
    if record.machine is not None and (commit := _commit(record.machine.get("commit_info"))):
        facts["commit"] = commit
    sources = Counter(cell.weights for cell in record.plan if cell.weights)
    if sources:
        facts["weights"] = ", ".join(sorted(sources))
    return {label: ComparedFact(text=text) for label, text in facts.items()}


def _commit(info: object) -> str | None:
    if not isinstance(info, Mapping) or not info.get("id"):
        return None
    return f"{str(info['id'])[:12]}{' with changes' if info.get('dirty') else ''}"


def _timing_facts(timed: Sequence[Timed]) -> dict[str, ComparedFact]:
    timers = sorted({entry.timer for entry in timed if entry.timer})
    counts = Counter(len(entry.rounds) for entry in timed if entry.rounds)
    facts = {}
    if timers:
        facts["timer"] = ComparedFact(text=", ".join(timers))
    if counts:
        facts["rounds"] = ComparedFact(
            text=", ".join(f"{n} checks with {rounds}" for rounds, n in sorted(counts.items()))
        )
    return facts


def _cache_facts(record: RunRecord) -> dict[str, ComparedFact]:
    """By the state that was asked for: how much of the checkpoint the page cache held when a load began."""
    resident: dict[str, list[float]] = {}
    for load in record.loads:
        state = load.report.get("cache")
        share = state.get("resident") if isinstance(state, Mapping) else None
        if isinstance(share, (int, float)):
            resident.setdefault(load.cache, []).append(float(share))
    return {
        f"page cache when loading {asked}": ComparedFact(
            text=f"{min(shares):.0%} to {max(shares):.0%} of the checkpoint resident",
        )
        for asked, shares in sorted(resident.items())
    }
