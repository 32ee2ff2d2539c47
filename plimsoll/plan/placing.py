"""Deals variants to the GPUs of a run, so that no GPU stays without a model that fits it.

The deal depends on predictions and on the total memory of GPUs, not on free memory, which changes all the time: one
selection must mean the same checks tomorrow, in every worker, and in a resumed run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Catalogue, Variant
from plimsoll.errors import PlimsollError
from plimsoll.footprint.demand import demand_of, is_spread
from plimsoll.gate.need import Need, need_of
from plimsoll.node.devices import CUDA_KIND, Device, Devices, read_links, usable_gpus
from plimsoll.node.driver import does_not_answer
from plimsoll.node.node import Node
from plimsoll.node.visible import Hidden
from plimsoll.plan.cells import Selection, make_plan
from plimsoll.plan.predictions import Predictions
from plimsoll.usertoml.suggest import nearest


class Policy(StrEnum):
    """The ways to deal variants."""

    SPREAD = "spread"
    EACH = "each"
    FIRST = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuChoice:
    """The value of `--gpus`."""

    policy: Policy
    named: tuple[str, ...] = ()
    """GPUs by index, id or UUID; none for all."""

    @classmethod
    def of(cls, text: str) -> GpuChoice:
        """Read `spread`, `each`, `first`, or names with commas between them. Raises PlimsollError for a name that
        no GPU of any node could have, and for one that is given twice."""
        if text in list(Policy):
            return cls(policy=Policy(text))
        names = tuple(name.strip() for name in text.split(","))
        for name in names:
            if not _COULD_BE_A_GPU.match(name):
                near = nearest(name, Policy)
                meant = f"did you mean '{near}'? Or give" if near else "write spread, each, first, or"
                raise PlimsollError(
                    f"{name or 'an empty name'} is no GPU; {meant} GPUs by index, id or UUID, with "
                    f"commas between: --gpus={_written_out(name) or '0,3'}"
                )
        if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
            raise PlimsollError(f"{twice} is named twice; name each GPU once")
        return cls(policy=Policy.SPREAD, named=names)

    def of_node(self, node: Node) -> Devices:
        """The chosen devices of a node. Raises PlimsollError as `among` does, with the reason where there is no GPU.

        Where the driver does not answer nobody knows what the names are of: the run goes on, and says so of each
        variant, for a broken node must leave evidence and not a usage error.
        """
        devices = Devices.of(node)
        if not devices.gpus and does_not_answer(node):
            return devices
        try:
            return self.among(devices)
        except PlimsollError as error:
            found = usable_gpus(node)
            why = f" ({found.why}); {found.fix}" if isinstance(found, Hidden) else ""
            raise PlimsollError(f"{error}{why}") from None

    def among(self, devices: Devices) -> Devices:
        """The chosen devices among those that a run could use. Raises PlimsollError for an unknown name, also where
        there is no GPU at all, and for two names of one GPU."""
        if self.policy is Policy.FIRST:
            return Devices(gpus=devices.gpus[:1], others=devices.gpus[1:])
        if not self.named:
            return devices
        chosen: dict[Device, str] = {}
        for name in self.named:
            for device in _named(name, devices.gpus):
                if device in chosen:
                    raise PlimsollError(f"--gpus: {chosen[device]} and {name} both name {device.id}; name it once")
                chosen[device] = name
        return Devices(
            gpus=tuple(device for device in devices.gpus if device in chosen),
            others=tuple(device for device in devices.gpus if device not in chosen),
        )


def _named(name: str, gpus: Sequence[Device]) -> list[Device]:
    fits = [gpu for gpu in gpus if name in (gpu.id, gpu.uuid, str(gpu.index))]
    fits = fits or [gpu for gpu in gpus if _BEGINNING.match(name) and (gpu.uuid or "").startswith(name)]
    by_index = all(gpu.index == fits[0].index for gpu in fits) and not name.startswith(("GPU-", "MIG-"))
    if not fits or (len(fits) > 1 and not by_index):
        known = ", ".join(f"{gpu.id}" + (f" or {gpu.uuid}" if gpu.uuid else "") for gpu in gpus)
        which = "several GPUs" if fits else "no GPU that this session may use"
        raise PlimsollError(f"--gpus: {name} names {which}; known: {known or 'none'}")
    return fits


def _written_out(name: str) -> str:
    """`0,1,2,3` for `0-3`, as Slurm and taskset would take it; empty for what is no such range."""
    found = _RANGE.fullmatch(name)
    first, last = (int(found[1]), int(found[2])) if found else (0, -1)
    return ",".join(map(str, range(first, last + 1))) if last - first < _MOST_IN_A_RANGE else ""


_BEGINNING: Final = re.compile(r"(GPU|MIG)-.+")
_COULD_BE_A_GPU: Final = re.compile(r"\d+$|gpu\d+(\.\d+)?$|(GPU|MIG)-.|[0-9a-fA-F]{8}-")
"""How an index, an id, and UUIDs of NVIDIA and AMD begin."""
_RANGE: Final = re.compile(r"(\d{1,4})-(\d{1,4})", re.ASCII)
_MOST_IN_A_RANGE: Final = 64

Set = tuple[Device, ...]
"""The GPUs that carry one copy of a variant together; its cuda:0 is the first."""
Links = Mapping[frozenset[str], int]
"""How well pairs of GPUs are linked, by their ids; more is better. A missing pair counts by its distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDemand:
    """What a variant needs of GPUs."""

    variant: str
    """The id of its entry."""
    holds: Callable[[Set], bool]
    """True where these GPUs together have the memory for it."""
    least: int = 1
    """The fewest GPUs that it can run on: those that its device map names."""
    most: int = 1
    """The most GPUs that it may be spread over; 1 for a variant that goes to one GPU whole."""


def deal(
    demands: Sequence[GpuDemand], gpus: Sequence[Device], policy: Policy, links: Links
) -> dict[str, tuple[Set, ...]]:
    """Variant -> the sets of GPUs that carry it, each a copy. Demands are in the catalogue's order.

    Under `spread` each variant goes once to the GPUs with the fewest so far; then each GPU without a model gets a copy
    of the variant with the fewest that fits it. Under `each` a variant that one GPU holds goes to every one that holds
    it. What no GPU holds is dealt to the largest, where the gate says what is lacking.
    """
    table = _Table(gpus=tuple(gpus), links=links)
    for demand in demands:
        alone = [(gpu,) for gpu in gpus if demand.least == 1 and demand.holds((gpu,))]
        if alone and policy is Policy.EACH:
            for one in alone:
                table.give(demand.variant, one)
        else:
            table.give(demand.variant, min(alone, key=table.burden) if alone else table.best_set(demand, gpus))
    if policy is not Policy.FIRST:
        _fill(table, demands)
    return {demand.variant: tuple(table.dealt[demand.variant]) for demand in demands}


def _see_each_other(gpus: Set) -> bool:
    """True for GPUs that one process can use together: it can see only one instance of a split GPU."""
    return len(gpus) == 1 or not any(gpu.is_instance for gpu in gpus)


KnownDemands = dict[tuple[str, int], GpuDemand]
"""By the id of the entry and the number of GPUs, for who deals one catalogue to many machines."""


def deal_all(
    variants: Sequence[Variant],
    devices: Devices,
    policy: Policy,
    predictions: Predictions,
    known: KnownDemands | None = None,
) -> dict[str, tuple[Set, ...]]:
    """The deal of the variants that need a GPU to the GPUs of a run, by their predictions and the links between GPUs.
    Demands that are `known` are not computed again, and others become so.
    Raises HostStartError where predictions need a host and none can be started."""
    known = {} if known is None else known
    most = len(devices.gpus)
    for variant in variants:
        if (variant.id, most) not in known:
            known[variant.id, most] = gpu_demand_of(variant, predictions, most)
    demands = [known[variant.id, most] for variant in variants]
    return deal(demands, devices.gpus, policy, read_links(devices.gpus))


def _fill(table: _Table, demands: Sequence[GpuDemand]) -> None:
    """Give every empty GPU a copy of a variant that fits it, if any does."""
    for gpu in table.gpus:
        if table.count[gpu]:
            continue
        alone = [demand for demand in demands if demand.least == 1 and demand.holds((gpu,))]
        if alone:
            fewest = min(alone, key=lambda demand: len(table.dealt[demand.variant]))
            table.give(fewest.variant, (gpu,))
            continue
        for demand in sorted(demands, key=lambda demand: len(table.dealt[demand.variant])):
            found = table.best_set(demand, table.gpus, with_=gpu)
            if demand.most > 1 and gpu in found and demand.holds(found):
                table.give(demand.variant, found)
                break


class _Table:
    """The deal so far."""

    def __init__(self, gpus: Set, links: Links) -> None:
        self.gpus = gpus
        self.dealt: dict[str, list[Set]] = {}
        self.count = dict.fromkeys(gpus, 0)
        self._links = links

    def give(self, variant: str, to: Set) -> None:
        self.dealt.setdefault(variant, []).append(to)
        for gpu in to:
            self.count[gpu] += 1

    def burden(self, gpus: Set) -> tuple[int, int]:
        """The sort key for GPUs: how much they carry already, then their position."""
        return sum(self.count[gpu] for gpu in gpus), self.gpus.index(gpus[0])

    def best_set(self, demand: GpuDemand, gpus: Sequence[Device], with_: Device | None = None) -> Set:
        """The fewest GPUs that hold it; among these the best linked, then the least loaded. Where none hold it, as many
        as it may have, the largest first."""
        for size in range(demand.least, min(demand.most, len(gpus)) + 1):
            sets = [one for one in combinations(gpus, size) if _see_each_other(one) and (with_ is None or with_ in one)]
            holding = [one for one in sets if demand.holds(one)]
            if holding:
                return max(holding, key=lambda one: (self._linked(one), *(-part for part in self.burden(one))))
        largest = sorted(gpus, key=lambda gpu: -(gpu.memory or 0))
        if demand.least > 1 or demand.most > 1:
            largest = [gpu for gpu in largest if not gpu.is_instance] or largest[:1]
        chosen = largest[: max(demand.least, min(demand.most, len(gpus)))]
        return tuple(gpu for gpu in gpus if gpu in chosen)

    def _linked(self, gpus: Set) -> tuple[int, int]:
        """The weakest link among them; where links are unknown, how close they are to each other."""
        pairs = list(combinations(gpus, 2))
        known = [self._links.get(frozenset((a.id, b.id)), 0) for a, b in pairs]
        span = max((abs((a.index or 0) - (b.index or 0)) for a, b in pairs), default=0)
        return min(known, default=0), -span


def placed(catalogue: Catalogue, dealt: Mapping[str, Collection[Set]]) -> Catalogue:
    """The catalogue with a copy of each variant for every set of GPUs that it was dealt to, in the variant's place:
    `llama-3.1-8b/nf4:gpu3`. Experiments ask only the first copy: they compare models, not GPUs."""
    copies = {
        name: [on_gpus(variant, one) for one in dealt[name]] if name in dealt else [variant]
        for name, variant in catalogue.variants.items()
    }
    experiments = {
        name: replace(experiment, variants=tuple(copies[one][0].id for one in experiment.variants))
        for name, experiment in catalogue.experiments.items()
    }
    variants = {copy.id: copy for several in copies.values() for copy in several}
    return replace(catalogue, variants=variants, experiments=experiments)


def on_the_only(catalogue: Catalogue, gpu: Device) -> Catalogue:
    """The catalogue with every variant that needs a GPU on the run's only GPU; the ids stay those of the entries."""
    variants = {
        name: replace(variant, gpus=(gpu.id,)) if variant.tier.device == CUDA_KIND else variant
        for name, variant in catalogue.variants.items()
    }
    return replace(catalogue, variants=variants)


def on_gpus(variant: Variant, gpus: Set) -> Variant:
    """A variant on these GPUs, under an id of its own."""
    ids = tuple(gpu.id for gpu in gpus)
    return replace(variant, id=f"{variant.id}:{'+'.join(ids)}", gpus=ids)


def candidates(root: Path, catalogue: Catalogue, selection: Selection, devices: Devices) -> tuple[Variant, ...]:
    """The selected variants that need a GPU: only they are dealt, so that a selection can use every GPU."""
    on_gpu = [variant for variant in catalogue.variants.values() if variant.tier.device == CUDA_KIND]
    together = "+" in " ".join((selection.keyword, *selection.arguments))
    everywhere = {one.id: _anywhere(devices.gpus, together=together and is_spread(one)) for one in on_gpu}
    plan = make_plan(root, placed(catalogue, everywhere), selection, devices)
    asked = {
        cell.parameter.variant.entry_id for cell in plan.cells if cell.parameter is not None and cell.parameter.variant
    }
    return tuple(variant for variant in on_gpu if variant.id in asked)


def _anywhere(gpus: Set, *, together: bool) -> list[Set]:
    most = len(gpus) if together else 1
    return [one for size in range(1, most + 1) for one in combinations(gpus, size)]


def gpu_demand_of(variant: Variant, predictions: Predictions, most: int) -> GpuDemand:
    """What a variant needs of GPUs, by its prediction; `most` is the number of GPUs. For a variant that cannot be
    predicted any GPU will do: the gate says what is wrong."""
    try:
        prediction = predictions.of(variant)
        need = need_of(variant, predictions.demand(variant))
    except PlimsollError:
        return GpuDemand(variant=variant.id, holds=lambda _: True)

    known: dict[tuple[int | None, ...], bool] = {}

    def spread(gpus: Set) -> bool:
        # Hundreds of sets of a node's GPUs have the same memory.
        sizes = tuple(gpu.memory for gpu in gpus)
        if sizes not in known:
            known[sizes] = fits(gpus)
        return known[sizes]

    def fits(gpus: Set) -> bool:
        memory = tuple(gpu.memory or 0 for gpu in gpus)
        if not isinstance(need.vram, int) or need.vram + need.vram_context * len(gpus) > sum(memory):
            return False
        if len(gpus) == 1:
            return True
        try:
            demand = demand_of(variant, prediction, predictions.placement(variant, memory))
        except PlimsollError:
            return False
        return not demand.offloaded and _each_holds(need_of(variant, demand), gpus)

    if is_spread(variant):
        return GpuDemand(variant=variant.id, holds=spread, most=most)
    numbers = need.vram if isinstance(need.vram, Mapping) else {}
    least = max(numbers, default=0) + 1
    return GpuDemand(variant=variant.id, holds=lambda gpus: _each_holds(need, gpus), least=least, most=least)


def _each_holds(need: Need, gpus: Set) -> bool:
    """True where each GPU has the memory for its part; a GPU of unknown size counts as large enough."""
    parts = need.vram if isinstance(need.vram, Mapping) else {}
    return all(
        number < len(gpus) and ((memory := gpus[number].memory) is None or size + need.vram_context <= memory)
        for number, size in parts.items()
    )
