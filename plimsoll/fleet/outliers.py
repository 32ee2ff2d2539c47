"""Finds GPUs and nodes that are slower than others of their kind, with a bound on false alarms in the whole fleet.

Every figure is held against those of the same check on every GPU of the same product, by its logarithm: how far it lies
from the median. A GPU lies out by the median over its figures, a node by what most of its GPUs reach at least (their
faster quartile). So three families of looks come about, each by a robust z (median, and median of absolute deviations):
nodes against nodes, GPUs against their nodes, figures against their GPUs. The families share the chance of a false
alarm, and Holm corrects each for its number. What is out by less than a floor is never named: healthy GPUs differ too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from plimsoll.fleet.noise import chance_of_noise, scale_of
from plimsoll.statistics.correction import holm
from plimsoll.statistics.robust import quantile
from plimsoll.units import counted, format_brief, format_value

ALPHA: Final = 0.05
"""The chance of any false alarm among all GPUs and nodes of a product of a fleet."""
FLOOR: Final = 0.05
"""The part by which a speed must lie behind the median to be named: GPUs of a healthy node differ by up to that."""
FEWEST: Final = 4
"""Values of a kind below which nothing is said of any of them."""

_FEWEST_FIGURES: Final = 3
"""Figures of a GPU from which its speed as a whole is looked at."""
_QUARTILE: Final = 0.25
_NODE_FROM: Final = 4
"""GPUs of a node from which they tell what is the node's and what a GPU's own."""
_SHARES: Final = (0.2, 0.6, 0.2)
"""Of the chance of a false alarm, for figures, GPUs and nodes."""


class Look(StrEnum):
    """What a look was at."""

    FIGURE = "figure"
    GPU = "gpu"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureKey:
    """What is held against what."""

    product: str
    check: str
    metric: str
    unit: str


@dataclass(frozen=True, slots=True)
class FigureValue:
    """One measured figure; `value` is above zero, in the base unit. `gpu` is empty where the node has none."""

    node: str
    gpu: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """Something that is slower than its like by more than chance makes it."""

    look: Look
    product: str
    node: str
    gpu: str | None
    """None where the whole node is meant."""
    behind: float
    """The part by which it lies behind the median: 0.08 for 8 %."""
    z: float
    chance: float
    """Of so far an outlier among healthy ones, corrected for the number of looks."""
    check: str | None = None
    metric: str | None = None
    unit: str | None = None
    value: float | None = None
    middle: float | None = None
    """The median; of a figure alone."""
    figures: int = 1
    """How many figures stand behind it."""

    def __str__(self) -> str:
        """`gpu2 is 8.1 % slower over 12 figures`, `gpu3 is 9.0 % slower in ...: 731 TFLOP/s, and 795 is the median`."""
        who = self.gpu or "the whole node"
        slower = f"{who} is {self.behind:.1%} slower"
        if self.value is None or self.middle is None or self.unit is None:
            return f"{slower} over {counted(self.figures, 'figure')}"
        mine, median_text = spoken_value(self.value, self.unit), spoken_value(self.middle, self.unit)
        return f"{slower} in {self.check}: {self.metric} {mine}, and {median_text} is the median"


def spoken_value(value: float, unit: str) -> str:
    """A figure for people: a rate of operations in tera, where its digits would be a power of ten."""
    return format_brief(value, unit) if unit == "FLOP/s" else format_value(value, unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierSearch:
    """What was found, and how much was looked at."""

    outliers: tuple[Outlier, ...]
    looks: int
    too_few: tuple[str, ...]
    """Products of which there are too few GPUs to say anything."""


@dataclass(frozen=True, slots=True)
class _Deviation:
    """How far out something is, in logarithms; positive is slower."""

    look: Look
    node: str
    gpu: str | None
    out: float
    z: float
    key: FigureKey | None = None
    value: float | None = None
    middle: float | None = None
    figures: int = 1


Place = tuple[str, str]


def find_outliers(
    figures: Mapping[FigureKey, Sequence[FigureValue]], *, alpha: float = ALPHA, floor: float = FLOOR
) -> OutlierSearch:
    """Every GPU and node that is slower than others of its product; rates are better high, times are better low."""
    found: list[Outlier] = []
    looks, too_few = 0, []
    products = dict.fromkeys(key.product for key in figures)
    for product in products:
        own = {key: values for key, values in figures.items() if key.product == product}
        places = {(value.node, value.gpu) for values in own.values() for value in values}
        if len(places) < FEWEST:
            too_few.append(product)
            continue
        outliers, count = _of_product(product, own, alpha, math.log1p(floor))
        found += outliers
        looks += count
    return OutlierSearch(
        outliers=tuple(sorted(found, key=lambda each: (_ORDER[each.look], each.node, each.gpu or "", -each.behind))),
        looks=looks,
        too_few=tuple(too_few),
    )


_ORDER: Final = {Look.NODE: 0, Look.GPU: 1, Look.FIGURE: 2}


def _of_product(
    product: str, figures: Mapping[FigureKey, Sequence[FigureValue]], alpha: float, floor: float
) -> tuple[list[Outlier], int]:
    measured = [one for key, values in figures.items() for one in _from_the_median(key, values)]
    gpus = _gpus_of(measured)
    nodes = _nodes_of(gpus, _QUARTILE)
    families = (
        _figure_looks(measured, gpus),
        _looks(Look.GPU, _less(gpus, nodes), measured, _less_others(gpus)),
        _looks(Look.NODE, {(node, ""): out for node, out in nodes.items()}, measured),
    )
    found = []
    asked = sum(share for family, share in zip(families, _SHARES, strict=True) if family)
    for family, part in zip(families, _SHARES, strict=True):
        share = part / asked
        for (each, _), chance in zip(family, holm([p for _, p in family]), strict=True):
            if each.out >= floor and chance < share * alpha:
                found.append(_outlier(product, each, chance / share))
    return found, sum(map(len, families))


@dataclass(frozen=True, slots=True)
class _Measured:
    """A figure, and how far its logarithm lies from the median; positive is slower."""

    key: FigureKey
    value: FigureValue
    out: float
    middle: float
    """The median, as a figure."""

    @property
    def place(self) -> Place:
        return self.value.node, self.value.gpu


def _from_the_median(key: FigureKey, values: Sequence[FigureValue]) -> list[_Measured]:
    if len(values) < FEWEST:
        return []
    sign = -1.0 if key.unit.endswith("/s") else 1.0
    logs = [sign * math.log(value.value) for value in values]
    middle = median(logs)
    return [
        _Measured(key, value, log - middle, math.exp(sign * middle)) for value, log in zip(values, logs, strict=True)
    ]


def _gpus_of(measured: Iterable[_Measured]) -> dict[Place, float]:
    """How far each GPU is out over its figures: the median, which one bad figure does not move."""
    outs: dict[Place, list[float]] = {}
    for one in measured:
        outs.setdefault(one.place, []).append(one.out)
    return {place: median(own) for place, own in outs.items() if len(own) >= _FEWEST_FIGURES}


def _less(gpus: Mapping[Place, float], nodes: Mapping[str, float]) -> dict[Place, float]:
    """What is left of each GPU without its node's part."""
    return {place: out - nodes.get(place[0], 0.0) for place, out in gpus.items()}


def _less_others(gpus: Mapping[Place, float]) -> dict[Place, float]:
    """What is left of each GPU without the median of its node's others: the noise as it is. What is left without a
    quantile that the GPU is itself part of has another shape, whose tail looks heavier than it is."""
    nodes: dict[str, dict[Place, float]] = {}
    for place, out in gpus.items():
        nodes.setdefault(place[0], {})[place] = out
    found: dict[Place, float] = {}
    for own in nodes.values():
        middles = _medians_of_others(own.values()) if len(own) >= _NODE_FROM else [0.0] * len(own)
        found |= {place: out - middle for (place, out), middle in zip(own.items(), middles, strict=True)}
    return found


def _nodes_of(gpus: Mapping[Place, float], share: float) -> dict[str, float]:
    """How far each node is out: a quantile of its GPUs. By the faster quartile, four slow ones of eight do not hide
    half of their slowness in it, as they would in the median."""
    outs: dict[str, list[float]] = {}
    for (node, _), out in gpus.items():
        outs.setdefault(node, []).append(out)
    return {node: quantile(sorted(own), share) for node, own in outs.items() if len(own) >= _NODE_FROM}


def _figure_looks(measured: Sequence[_Measured], gpus: Mapping[Place, float]) -> list[tuple[_Deviation, float]]:
    """Each figure against the others of its GPU; where a GPU has too few, against its node's."""
    by_key: dict[FigureKey, list[_Measured]] = {}
    by_place: dict[Place, list[float]] = {}
    for one in measured:
        by_key.setdefault(one.key, []).append(one)
        by_place.setdefault(one.place, []).append(one.out)
    # Each GPU's figures stand in the order of the keys, as they are asked for below.
    of_others = {place: iter(_medians_of_others(outs)) for place, outs in by_place.items() if place in gpus}
    groups, noise = [], []
    for key, own in by_key.items():
        alone = _less_others({one.place: one.out for one in own})
        residuals = [one.out - next(of_others[one.place]) if one.place in gpus else alone[one.place] for one in own]
        middle = median(residuals)
        scale = scale_of(residuals, middle)
        groups.append(
            [
                _Deviation(
                    look=Look.FIGURE,
                    node=one.value.node,
                    gpu=one.value.gpu,
                    out=residual - middle,
                    z=(residual - middle) / scale,
                    key=key,
                    value=one.value.value,
                    middle=one.middle,
                )
                for one, residual in zip(own, residuals, strict=True)
            ]
        )
        noise += [each.z for each in groups[-1]]
    return [judged for group in groups for judged in _judged(group, noise)]


def _medians_of_others(values: Iterable[float]) -> list[float]:
    """For each of two values or more, the median of the others."""
    own = list(values)
    ordered = sorted(own)
    half, is_one = divmod(len(own) - 1, 2)
    # Without a value of the lower half, the middle of the others lies one place higher.
    if is_one:
        return [ordered[half + 1 if value <= ordered[half] else half] for value in own]
    low, middle, high = ordered[half - 1 : half + 2]
    return [
        (middle + high if value < middle else low + high if value == middle else low + middle) / 2.0 for value in own
    ]


def _looks(
    look: Look, outs: Mapping[Place, float], measured: Iterable[_Measured], noise: Mapping[Place, float] | None = None
) -> list[tuple[_Deviation, float]]:
    """Each GPU, or each node, against all others; `noise` shows their tail, the same unless given."""
    if len(outs) < FEWEST:
        return []
    figures: dict[Place, int] = {}
    for one in measured:
        place = (one.value.node, "") if look is Look.NODE else one.place
        figures[place] = figures.get(place, 0) + 1
    middle = median(outs.values())
    scale = scale_of(list(outs.values()), middle)
    group = [
        _Deviation(
            look=look,
            node=node,
            gpu=None if look is Look.NODE else gpu,
            out=out - middle,
            z=(out - middle) / scale,
            figures=figures[node, gpu],
        )
        for (node, gpu), out in outs.items()
    ]
    others = list((outs if noise is None else noise).values())
    centre = median(others)
    others_scale = scale_of(others, centre)
    return _judged(group, [(other - centre) / others_scale for other in others])


def _judged(group: Sequence[_Deviation], noise: Sequence[float]) -> list[tuple[_Deviation, float]]:
    """Each deviation with the chance of one as far out to the slow side; `noise` shows the tail, where it can."""
    outs: dict[str, list[float]] = {}
    for each in group:
        outs.setdefault(each.node, []).append(each.out)
    chance = chance_of_noise(list(outs.values()), noise)
    return [(each, chance(each.z)) for each in group]


def _outlier(product: str, each: _Deviation, chance: float) -> Outlier:
    key = each.key
    return Outlier(
        look=each.look,
        product=product,
        node=each.node,
        gpu=each.gpu or None,
        behind=-math.expm1(-each.out),
        z=each.z,
        chance=chance,
        check=None if key is None else key.check,
        metric=None if key is None else key.metric,
        unit=None if key is None else key.unit,
        value=each.value,
        middle=each.middle,
        figures=each.figures,
    )
