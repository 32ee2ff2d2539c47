"""Bounds a metric of a variant by prediction: the least, the expected and the most.

A figure of the architecture is exact. Memory of a GPU has a least, which loading alone takes, and an expectation that
depends on what the model is asked. Times depend on a disk or a network that no document names, so only times that no
disk can reach are impossible. Where nothing is predicted, the bounds say why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Claim, Variant
from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import Workload
from plimsoll.gate.need import CONTEXT_ALLOWANCE, CONTEXT_LEAST
from plimsoll.metrics import METRICS, Predicted
from plimsoll.plan.estimates import LINK_RATE, AssumedSpeeds, load_seconds
from plimsoll.units import format_bytes, format_seconds

TYPICAL: Final = Workload(batch=1, prompt=2048, new=256)
"""The least that a reader will do with a model when told how much memory it needs."""
_LEAST_WORK: Final = Workload(batch=1, prompt=1, new=1)
_ROUNDING: Final = 1.02
"""A caching allocator rounds each tensor up."""
_WORKSPACE: Final = 64 * 2**20
"""Bytes that libraries keep for themselves through torch's allocator."""
_CODE: Final = 4 * 2**30
"""The most bytes of RAM for CUDA's libraries, prompts and allocator slack."""
_FASTEST_DISK: Final = 14e9
"""Bytes a second: a PCIe 5.0 x4 drive."""
_FASTEST_LINK: Final = 64e9
"""Bytes a second: PCIe 5.0 x16."""
_FASTEST_NETWORK: Final = 1.25e9
"""Bytes a second: 10 Gbit/s."""
_USUAL_NETWORK: Final = 125e6
"""Bytes a second: 1 Gbit/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The possible range of a metric, in its base unit; None on an unbounded side."""

    least: float | None = None
    expected: float | None = None
    most: float | None = None
    exact: bool = False
    """True where arithmetic gives one value."""
    basis: str
    """How the figures were derived; where there are none, why."""
    instead: str = ""
    """What a document could say instead."""


def bounds_of(claim: Claim, variant: Variant, demand: Demand) -> Bounds:
    """The bounds of a claim's metric for one of its variants."""
    predicted = METRICS[claim.metric].predicted
    if predicted is None:
        return Bounds(basis="only a measurement tells")
    return _RULES[predicted](claim, variant, demand)


def together(claim: Claim, demands: Mapping[str, Demand]) -> Bounds:
    """The bounds of a claim about several variants at once; `demands` has each of them by its model."""
    if claim.metric == "checkpoint_bytes":
        return _files(sum(_checkpoint(demand) for demand in demands.values()))
    weights = sum(demand.prediction.footprint.weight_bytes for demand in demands.values())
    return Bounds(least=weights, basis=f"nothing predicts it; the weights take {format_bytes(weights)}")


def _exact(value: float | None, what: str, text: str | None = None) -> Bounds:
    if value is None:
        return Bounds(basis=f"the architecture has no {what}")
    instead = text or f"{value:,.0f}"
    return Bounds(least=value, expected=value, most=value, exact=True, basis="the architecture", instead=instead)


def _files(size: int) -> Bounds:
    return _exact(size, "weights", f"{format_bytes(size)} in 16 bit")


def _checkpoint(demand: Demand) -> int:
    return 2 * demand.prediction.footprint.parameter_count


def _on_gpus(sizes: Mapping[int, int]) -> int:
    return sum(size for place, size in sizes.items() if place != RAM)


def _weights(demand: Demand) -> str:
    return f"{format_bytes(demand.prediction.footprint.weight_bytes)} of weights"


def _peak(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    """The highest that torch allocates: while loading, and at what a claim says that is generated."""
    work = _workload(claim)
    least = _on_gpus(demand.load if work is None else demand.at(work))
    when = "while loading" if work is None else f"for {work}"
    return Bounds(
        least=least,
        expected=least,
        most=least * _ROUNDING + _WORKSPACE,
        basis=f"{_weights(demand)}, {format_bytes(least)} at the highest {when}",
        instead=f"{format_bytes(least)} {when}",
    )


def _workload(claim: Claim) -> Workload | None:
    """What a claim's conditions ask of the model; None where they ask nothing."""
    conditions = claim.conditions
    if "input_tokens" not in conditions:
        return None
    prompt, new, batch = (int(conditions.get(name, 1)) for name in ("input_tokens", "new_tokens", "batch"))
    return Workload(batch=batch, prompt=prompt, new=new)


def _allocated(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    held = _on_gpus(demand.held)
    return Bounds(
        least=held,
        expected=held,
        most=held * _ROUNDING + _WORKSPACE,
        basis=_weights(demand),
        instead=f"{format_bytes(held)} once loaded",
    )


def _reserved(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    basis = f"{_weights(demand)} at the least; what the pool holds beyond depends on the loader's threads"
    return Bounds(least=_on_gpus(demand.load), basis=basis, instead="what is allocated: the pool says little")


def _needed(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    """What a GPU must have: the context as well, and some work to do."""
    places = max(1, sum(place != RAM for place in demand.load))
    least = _on_gpus(demand.at(_LEAST_WORK)) + places * CONTEXT_LEAST
    expected = _on_gpus(demand.at(TYPICAL)) + places * CONTEXT_ALLOWANCE
    text = f"{format_bytes(expected)} for {TYPICAL}, with the CUDA context"
    return Bounds(
        least=least,
        expected=expected,
        basis=f"{_weights(demand)}; {format_bytes(least)} with the smallest context and one token",
        instead=text,
    )


def left_on(memory: int, claim: Claim, variant: Variant, demand: Demand) -> Bounds:
    """What is left of a GPU with so many bytes beside a variant that works."""
    needed = _needed(claim, variant, demand)
    least, expected = needed.least or 0, needed.expected or 0
    return Bounds(
        expected=memory - expected,
        most=memory - least,
        basis=f"{format_bytes(memory)}, less {format_bytes(expected)} for {TYPICAL}, with the CUDA context",
        instead=f"{format_bytes(memory - expected)} beside {TYPICAL}",
    )


def _ram(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    most = max(_checkpoint(demand), demand.load[RAM]) + _CODE
    basis = f"how much of the checkpoint stays resident is the system's choice: at most {format_bytes(most)} in all"
    return Bounds(least=0, most=most, basis=basis, instead=f"up to {format_bytes(most)}, most of it pages of files")


def _load_time(fastest: float, speeds: AssumedSpeeds) -> Callable[[Claim, Variant, Demand], Bounds]:
    def bounds(claim: Claim, variant: Variant, demand: Demand) -> Bounds:
        size = _checkpoint(demand)
        expected = load_seconds(size, variant.quantization, variant.tier.device, speeds)
        basis = f"{format_bytes(size)} to read, {format_seconds(expected)} with {speeds}"
        return Bounds(least=size / fastest, expected=expected, basis=basis, instead=_speed(claim, size))

    return bounds


def _first_load_time(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    size = _checkpoint(demand)
    expected = size / _USUAL_NETWORK
    basis = f"{format_bytes(size)} to download, {format_seconds(expected)} at 1 Gbit/s"
    return Bounds(least=size / _FASTEST_NETWORK, expected=expected, basis=basis, instead=_speed(claim, size))


def _speed(claim: Claim, size: int) -> str:
    """A time as text, with the speed that it implies."""
    if claim.high is None:
        return ""
    rate = size / claim.high
    return f"{format_bytes(size)} at {rate / 1e6:,.0f} MB/s or more, which is {8 * rate / 1e9:.2g} Gbit/s"


def _training(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    whole = METRICS[claim.metric].predicted is Predicted.TRAINING
    weights = demand.prediction.footprint.weight_bytes
    return Bounds(
        least=weights if whole else None,
        basis=f"a run predicts no training, `plimsoll audit` does; the weights take {format_bytes(weights)}",
    )


def _fact(claim: Claim, variant: Variant, demand: Demand) -> Bounds:  # noqa: ARG001  all bounds are asked alike
    return _exact(getattr(demand.prediction.facts, claim.metric), claim.metric.replace("_", " "))


_RULES: Final[Mapping[Predicted, Callable[[Claim, Variant, Demand], Bounds]]] = {
    Predicted.FACT: _fact,
    Predicted.PARAMETERS: lambda _, __, d: _exact(d.prediction.footprint.parameter_count, "parameters"),
    Predicted.STORED: lambda _, __, d: _exact(
        d.prediction.footprint.weight_bytes, "weights", format_bytes(d.prediction.footprint.weight_bytes)
    ),
    Predicted.QUANTIZED: lambda _, __, d: _exact(d.prediction.footprint.quantized_fraction, "quantization"),
    Predicted.FILES: lambda _, __, d: _files(_checkpoint(d)),
    Predicted.PEAK: _peak,
    Predicted.HELD: _allocated,
    Predicted.POOL: _reserved,
    Predicted.NEEDED: _needed,
    Predicted.RAM: _ram,
    Predicted.DISK_LOAD: _load_time(_FASTEST_DISK, AssumedSpeeds()),
    Predicted.CACHED_LOAD: _load_time(_FASTEST_LINK, AssumedSpeeds(disk=LINK_RATE)),
    Predicted.ANY_LOAD: _load_time(_FASTEST_LINK, AssumedSpeeds()),
    Predicted.DOWNLOAD: _first_load_time,
    Predicted.TRAINING: _training,
    Predicted.UNBOUNDED_TRAINING: _training,
}
