"""Plans a machine: the gate's decision on each variant, with what the variant takes and leaves.

Only the gate decides, on the same need as in a run. A reference machine is turned into a node, so that the gate decides
about both: a data sheet does not give RAM, disk or software, so these are taken as large as they need to be, and the
plan says how much that is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from plimsoll.catalogue.entries import Profile, Quantization, Variant, WeightSource
from plimsoll.errors import PlimsollError
from plimsoll.footprint.demand import Demand, demand_of
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import Workload
from plimsoll.footprint.reference import is_compared
from plimsoll.gate.decide import Decision, decide
from plimsoll.gate.need import CONTEXT_ALLOWANCE, CONTEXT_LEAST, HOST_ALLOWANCE, Need, need_of
from plimsoll.gate.skip import Skip
from plimsoll.hub.access import Access, Query
from plimsoll.hub.unasked import query_of, unasked
from plimsoll.metrics import METRICS, Place
from plimsoll.node.devices import CUDA_KIND, Devices, seen_by
from plimsoll.node.node import Cpu, Disk, Gpu, Memory, Node, Unread
from plimsoll.node.stack import installed_packages
from plimsoll.node.visible import Hidden, free_memory, visible_gpus
from plimsoll.plan.estimates import AssumedSpeeds, Capacity, capacity, load_seconds
from plimsoll.plan.placing import GpuChoice, KnownDemands, Set, deal_all, on_gpus
from plimsoll.plan.predictions import Predictions
from plimsoll.units import format_bytes, format_seconds

UNSTATED: Final = 2**62
"""Bytes of memory that a data sheet does not give; more than any need."""
_NO_CAPABILITY: Final = "its data sheet names no compute capability, which is CUDA's"


def node_of_profile(profile: Profile, packages: Mapping[str, str | None]) -> Node:
    """A node with the profile's GPUs, all of them free, and with the packages of this environment.

    A build of torch without CUDA counts as one with CUDA: the machine will have the right build.
    """
    gpus = tuple(
        Gpu(
            index=index,
            name=profile.gpu,
            uuid=None,
            serial=None,
            vbios=None,
            memory_total=profile.memory,
            memory_free=profile.memory,
            compute_capability=profile.compute_capability,
            mig=False,
        )
        for index in range(profile.count)
    )
    return Node(
        hostname=profile.id,
        system="",
        kernel="",
        python=".".join(map(str, sys.version_info[:3])),
        cpu=Cpu(model=None, architecture="", physical_cores=None, logical_cores=1, features=()),
        memory=Memory(total=UNSTATED, available=UNSTATED, limit=None),
        disk=Disk(path="a disk", filesystem=None, total=UNSTATED, free=UNSTATED),
        gpus=gpus,
        driver=None,
        cuda=None,
        packages={name: version and version.partition("+")[0] for name, version in packages.items()},
        environment={},
        unread=tuple(Unread(what=f"gpus[{gpu.index}].compute_capability", why=_NO_CAPABILITY) for gpu in gpus),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMachine:
    """A machine to plan for: this node (`profile` is None), or a reference machine."""

    name: str
    node: Node
    profile: Profile | None = None

    @property
    def gpus(self) -> tuple[int, ...]:
        """Free bytes of each GPU that CUDA sees; empty where there is none, or where they are not all known."""
        visible = visible_gpus(self.node)
        free = () if isinstance(visible, Hidden) else tuple(free_memory(self.node, gpu) for gpu in visible)
        known = tuple(size for size in free if size is not None)
        return known if len(known) == len(free) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """Which GPUs of a machine would carry which variants in a run there."""

    devices: Devices
    sets: Mapping[str, Sequence[Set]]
    """Id of the entry -> the GPUs of each copy."""

    def copies(self, variant: Variant) -> list[tuple[Variant, Set]]:
        """The copies of a variant with their GPUs, under ids that name these; the variant itself, without GPUs, where
        it was not dealt."""
        return [(on_gpus(variant, one), one) for one in self.sets.get(variant.id, ())] or [(variant, ())]


def deal_of(
    machine: PlannedMachine,
    variants: Sequence[Variant],
    choice: GpuChoice,
    predictions: Predictions,
    known: KnownDemands | None = None,
) -> Deal | None:
    """The deal of a machine with several GPUs; None for one without. `known` is what other deals of the same variants
    found out about them, and learns from this one. Raises PlimsollError where the choice names a GPU
    that the machine does not have."""
    devices = choice.of_node(machine.node)
    if not devices.several:
        return None
    needing = [variant for variant in variants if variant.tier.device == CUDA_KIND]
    return Deal(devices=devices, sets=deal_all(needing, devices, choice.policy, predictions, known))


def machine_of(profile: Profile, stack: Mapping[str, str] | None = None) -> PlannedMachine:
    """A reference machine, with the packages of this environment; where torch is not among them, what is missing is
    taken from the `stack` that predictions were made with."""
    return machines_of([profile], stack)[0]


def machines_of(profiles: Iterable[Profile], stack: Mapping[str, str] | None = None) -> list[PlannedMachine]:
    """The same of several, in their order; what is installed is read once for all, which takes most of the time."""
    chosen = list(profiles)
    if not chosen:
        return []
    packages = installed_packages()
    if packages.get("torch") is None:
        packages = {name: version or (stack or {}).get(name) for name, version in packages.items()}
    return [
        PlannedMachine(name=profile.id, node=node_of_profile(profile, packages), profile=profile) for profile in chosen
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One variant on one machine; sizes in bytes, None where unknown."""

    variant: Variant
    machine: str
    decision: Decision | str
    """The gate's decision, or a text that says why there is none."""
    device: str
    needed: int | None
    """Memory of the GPUs with their contexts; RAM for a variant on the CPU."""
    least: int | None
    """The least that torch allocates on the GPUs: to load it, and to answer a prompt of one token with one token. None
    on the CPU."""
    available: int | None
    left: int | None
    """What is left on the place with the least to spare; negative for what is lacking there, or what the planner would
    move from a GPU to the CPU."""
    ram: int | None
    checkpoint: int | None
    """Bytes of its weights' files, present or not; 0 for synthetic weights."""
    seconds: float | None
    """Seconds to load it with a cold page cache."""
    capacity: Capacity | None
    """None where the variant would not run."""
    note: str
    """Notes for the reader, besides the figures."""

    @property
    def runs(self) -> bool:
        """True where the gate would admit it to this machine."""
        return not isinstance(self.decision, (Skip, str))


class Planner:
    """Plans variants for machines. `length` is the prompt in tokens for which the largest batch is computed."""

    def __init__(self, predictions: Predictions, speeds: AssumedSpeeds, length: int) -> None:
        self._predictions = predictions
        self._speeds = speeds
        self._length = length

    def rows(self, variants: Iterable[Variant], machine: PlannedMachine, deal: Deal | None = None) -> list[PlanRow]:
        """A row for each variant, in order; with a deal, one for each copy on its GPUs.

        Raises HostStartError where predictions need a host and none can be started.
        """
        promised = dict[Query, int]()
        if deal is None:
            free = machine.gpus
            return [self._row(variant, machine, free, promised) for variant in variants]
        rows = []
        for copy, gpus in (pair for variant in variants for pair in deal.copies(variant)):
            here = replace(machine, node=seen_by(machine.node, gpus)) if gpus else machine
            rows.append(self._row(copy, here, here.gpus, promised))
        return rows

    def _row(
        self, variant: Variant, machine: PlannedMachine, free: Sequence[int], promised: dict[Query, int]
    ) -> PlanRow:
        try:
            demand = self._demand(variant, free)
        except PlimsollError as error:
            return _undecided(variant, machine, str(error))
        need = need_of(variant, demand)
        checkpoint = 2 * demand.prediction.footprint.parameter_count
        access = _access(variant, machine, checkpoint, promised)
        decision = decide(variant, machine.node, _of_machine_alone(need, machine), access)
        if access is not None and not isinstance(decision, Skip):
            promised[access.query] = access.missing
        room = _room(variant, machine, free)
        made_up = variant.model.source is WeightSource.SYNTHETIC
        return PlanRow(
            variant=variant,
            machine=machine.name,
            decision=decision,
            device=need.device,
            needed=_needed(need),
            least=_least(demand) if need.device == "cuda" else None,
            available=_available(need, machine, free),
            left=_left(need, machine, free),
            ram=need.ram,
            checkpoint=0 if made_up else checkpoint,
            seconds=None if made_up else load_seconds(checkpoint, variant.quantization, need.device, self._speeds),
            capacity=None if isinstance(decision, Skip) else capacity(demand, room, self._length),
            note="; ".join(
                filter(
                    None, (_note(variant, demand, checkpoint, self._speeds), _fetched(access), _one_lacks(need, free))
                )
            ),
        )

    def _demand(self, variant: Variant, free: Sequence[int]) -> Demand:
        prediction = self._predictions.of(variant)
        placement = self._predictions.placement(variant, free) if variant.tier.device == "cuda" else None
        return self._predictions.demand(variant) if placement is None else demand_of(variant, prediction, placement)


def _of_machine_alone(need: Need, machine: PlannedMachine) -> Need:
    """The need without what a reference machine cannot have: access to the Hub, and, for a GPU that is not NVIDIA's, a
    compute capability."""
    profile = machine.profile
    if profile is None:
        return need
    need = replace(need, source=WeightSource.LOCAL if need.source is WeightSource.HUB else need.source)
    if profile.compute_capability is not None:
        return need
    return replace(need, bf16=False, min_capability=None)


def _access(variant: Variant, machine: PlannedMachine, size: int, promised: Mapping[Query, int]) -> Access | None:
    """The expected answer of the Hub, and the disk with its cache, on this node; `size` in bytes. None where the
    weights come from elsewhere, and for a reference machine. Raises OSError where that disk cannot be read."""
    if machine.profile is not None or variant.model.source is not WeightSource.HUB or variant.model.hub_id is None:
        return None
    access = unasked(query_of(variant.model), size)
    others = sum(missing for query, missing in promised.items() if query != access.query)
    return replace(access, promised=others)


def _fetched(access: Access | None) -> str:
    """Which weights would be fetched, and where to; empty where none come from the Hub."""
    if access is None:
        return ""
    if not access.missing:
        return f"its weights are in {access.cache}"
    here = f", {format_bytes(access.present)} are there already" if access.present else ""
    return f"fetches {format_bytes(access.missing)} of weights into {access.cache}{here}"


def _needed(need: Need) -> int | None:
    if need.device == "cpu":
        return need.ram
    if need.vram is None:
        return None
    if isinstance(need.vram, Mapping):
        return sum(need.vram.values()) + need.offloaded + need.vram_context * max(1, len(need.vram))
    return need.vram + need.vram_context


def _least(demand: Demand) -> int:
    peaks = demand.at(Workload(batch=1, prompt=1, new=1))
    return sum(size for place, size in peaks.items() if place != RAM) + demand.offloaded


def _available(need: Need, machine: PlannedMachine, free: Sequence[int]) -> int | None:
    if need.device == "cpu":
        return None if machine.profile is not None else machine.node.memory.available
    if isinstance(need.vram, Mapping) and not need.offloaded:
        used = [free[number] for number in need.vram if number < len(free)]
        return sum(used) if used else None
    return sum(free) if free else None


def _left(need: Need, machine: PlannedMachine, free: Sequence[int]) -> int | None:
    if need.device == "cpu" or not isinstance(need.vram, Mapping):
        needed, available = _needed(need), _available(need, machine, free)
        return None if needed is None or available is None else available - needed
    if need.offloaded:
        return -need.offloaded
    rests = [free[number] - size - need.vram_context for number, size in need.vram.items() if number < len(free)]
    return min(rests, default=None)


def _one_lacks(need: Need, free: Sequence[int]) -> str:
    """Which GPU is too small where all together would suffice; empty in all other cases."""
    if need.offloaded or not isinstance(need.vram, Mapping):
        return ""
    rests = {n: free[n] - size - need.vram_context for n, size in need.vram.items() if n < len(free)}
    lacking = {number: -rest for number, rest in rests.items() if rest < 0}
    if not lacking or sum(rests.values()) < 0:
        return ""
    worst = max(lacking, key=lambda number: lacking[number])
    many = f"{len(lacking)} of {len(rests)} GPUs are" if len(lacking) > 1 else f"cuda:{worst} is"
    return (
        f"together the GPUs have the room, and {many} too small for the part that the planner puts there: cuda:{worst} "
        f"lacks {format_bytes(lacking[worst])}"
    )


def _room(variant: Variant, machine: PlannedMachine, free: Sequence[int]) -> Mapping[int, int]:
    if variant.tier.device == "cpu":
        return {} if machine.profile is not None else {RAM: machine.node.memory.available - HOST_ALLOWANCE}
    return {number: size - CONTEXT_ALLOWANCE for number, size in enumerate(free)}


def _note(variant: Variant, demand: Demand, checkpoint: int, speeds: AssumedSpeeds) -> str:
    notes = [*demand.prediction.remarks]
    if is_compared(variant):
        seconds = load_seconds(checkpoint, Quantization.BF16, variant.tier.device, speeds)
        notes.append(f"comparing it with bf16 reads the checkpoint once more, {format_seconds(seconds)}")
    if demand.prediction.unpredicted:
        notes.append(f"cache and activations not predicted: {demand.prediction.unpredicted}")
    if variant.model.source is WeightSource.HUB and variant.model.gated:
        notes.append("the Hub wants a login")
    return "; ".join(notes)


def _undecided(variant: Variant, machine: PlannedMachine, reason: str) -> PlanRow:
    return PlanRow(
        variant=variant,
        machine=machine.name,
        decision=reason,
        device=variant.tier.device,
        needed=None,
        least=None,
        available=None,
        left=None,
        ram=None,
        checkpoint=None,
        seconds=None,
        capacity=None,
        note="",
    )


def broken_promises(variant: Variant, row: PlanRow) -> list[str]:
    """A sentence for each undisputed claim that a machine with so much memory is enough, though it is not; empty where
    the least was not predicted, or there is no such claim."""
    if row.least is None or row.available is None:
        return []
    broken = []
    for metric in METRICS.values():
        if not metric.promises_room:
            continue
        # A GPU needs more than what torch allocates.
        beside = 0 if metric.place is Place.GPU else CONTEXT_LEAST
        for claim in variant.claims_on(metric.name):
            high = claim.limit_high
            if high is not None and high <= row.available < row.least + beside:
                broken.append(
                    f"{claim.source} says that {variant.id} does with {format_bytes(high)}, and {row.machine} has "
                    f"{format_bytes(row.available)}; it takes {format_bytes(row.least + beside)} at least: dispute the "
                    "claim, or correct the prediction"
                )
    return broken
