"""Finds GPUs and nodes that are slower than others of their kind, with a bound on false alarms in the whole fleet.

Every figure is held against those of the same check on every GPU of the same product, by its logarithm: how far it lies
from the median. A GPU lies out by the median over its figures, a node by what most of its GPUs reach at least (their
faster quartile). So three families of looks come about, each by a robust z (median, and median of absolute deviations):
nodes against nodes, GPUs against their nodes, figures against their GPUs. The families share the chance of a false
alarm, and Holm corrects each for its number. What is out by less than a floor is never named: healthy GPUs differ too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from plimsoll.fleet.noise import NoiseTail, chance_of_noise, scale_of
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
    """Products of which there are too few GPUs to say anything, or too few that were asked the same."""


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
        places = {key: [(value.node, value.gpu) for value in values] for key, values in own.items()}
        columns = [_column(key, values, places[key]) for key, values in own.items() if len(values) >= FEWEST]
        if not columns or len(set().union(*places.values())) < FEWEST:
            too_few.append(product)
            continue
        outliers, count = _of_product(product, columns, alpha, math.log1p(floor))
        found += outliers
        looks += count
    return OutlierSearch(
        outliers=tuple(sorted(found, key=lambda each: (_ORDER[each.look], each.node, each.gpu or "", -each.behind))),
        looks=looks,
        too_few=tuple(too_few),
    )


_ORDER: Final = {Look.NODE: 0, Look.GPU: 1, Look.FIGURE: 2}


@dataclass(frozen=True, slots=True)
class _Column:
    """A figure on every GPU that has it, and how far each logarithm lies from the median; positive is slower."""

    key: FigureKey
    values: Sequence[FigureValue]
    places: Sequence[Place]
    outs: Sequence[float]
    middle: float
    """The median, as a figure."""


@dataclass(frozen=True, slots=True)
class _Group:
    """What is held against each other: how far each lies out, in logarithms, and as a z; positive is slower.

    Lists side by side, for a fleet has as many figures as it has GPUs times checks, and hardly any is ever named.
    """

    look: Look
    places: Sequence[Place]
    outs: Sequence[float]
    zs: Sequence[float]
    column: _Column | None = None
    """Where they are figures."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Groups that share a part of the chance of a false alarm, and the z by which the tail of their noise is seen."""

    groups: Sequence[_Group] = ()
    noise: Sequence[float] = ()

    def __len__(self) -> int:
        return sum(len(group.outs) for group in self.groups)


def _column(key: FigureKey, values: Sequence[FigureValue], places: Sequence[Place]) -> _Column:
    sign = -1.0 if key.unit.endswith("/s") else 1.0
    logs = [sign * math.log(value.value) for value in values]
    middle = median(logs)
    return _Column(key, values, places, [log - middle for log in logs], math.exp(sign * middle))


def _of_product(product: str, columns: Sequence[_Column], alpha: float, floor: float) -> tuple[list[Outlier], int]:
    by_place = _by_place(columns)
    gpus = _gpus_of(by_place)
    nodes = _nodes_of(gpus, _QUARTILE)
    families = (
        _figure_looks(columns, by_place, gpus),
        _looks(Look.GPU, _less(gpus, nodes), _less_others(gpus)),
        _looks(Look.NODE, {(node, ""): out for node, out in nodes.items()}),
    )
    figures = _figures_behind(columns)
    found = []
    asked = sum(share for family, share in zip(families, _SHARES, strict=True) if family)
    for family, part in zip(families, _SHARES, strict=True):
        share = part / asked
        for group, at, chance in _beyond(family, floor):
            if chance < share * alpha:
                found.append(_outlier(product, group, at, chance / share, figures[group.look][group.places[at]]))
    return found, sum(map(len, families))


def _beyond(family: _Family, floor: float) -> list[tuple[_Group, int, float]]:
    """What is out by the floor or more: its group, its place there, its chance as corrected for the whole family."""
    if all(max(group.outs) < floor for group in family.groups):
        return []
    tail = NoiseTail.of(family.noise)
    corrected = holm([chance for group in family.groups for chance in _chances(group, tail)])
    looks = ((group, at) for group in family.groups for at in range(len(group.outs)))
    return [
        (group, at, chance) for (group, at), chance in zip(looks, corrected, strict=True) if group.outs[at] >= floor
    ]


def _figures_behind(columns: Iterable[_Column]) -> dict[Look, Mapping[Place, int]]:
    """How many figures stand behind what is looked at."""
    of_gpus = Counter(place for column in columns for place in column.places)
    of_nodes: Counter[Place] = Counter()
    for (node, _), count in of_gpus.items():
        of_nodes[node, ""] += count
    return {Look.FIGURE: dict.fromkeys(of_gpus, 1), Look.GPU: of_gpus, Look.NODE: of_nodes}


def _gpus_of(by_place: Mapping[Place, Sequence[float]]) -> dict[Place, float]:
    """How far each GPU is out over its figures: the median, which one bad figure does not move."""
    return {place: median(own) for place, own in by_place.items() if len(own) >= _FEWEST_FIGURES}


def _by_place(columns: Iterable[_Column]) -> dict[Place, list[float]]:
    """How far the figures of each GPU are out, in the order of the columns."""
    outs: dict[Place, list[float]] = {}
    for column in columns:
        for place, out in zip(column.places, column.outs, strict=True):
            outs.setdefault(place, []).append(out)
    return outs


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


def _figure_looks(
    columns: Sequence[_Column], by_place: Mapping[Place, Sequence[float]], gpus: Mapping[Place, float]
) -> _Family:
    """Each figure against the others of its GPU; where a GPU has too few, against its node's."""
    # Each GPU's figures stand in the order of the columns, as they are asked for below.
    of_others = {place: iter(_medians_of_others(outs)) for place, outs in by_place.items() if place in gpus}
    groups = []
    for column in columns:
        own = list(zip(column.places, column.outs, strict=True))
        alone: Mapping[Place, float] = {} if all(place in gpus for place in column.places) else _less_others(dict(own))
        residuals = [out - next(of_others[place]) if place in gpus else alone[place] for place, out in own]
        groups.append(_group(Look.FIGURE, column.places, residuals, column))
    return _Family(groups, [z for group in groups for z in group.zs])


def _group(look: Look, places: Sequence[Place], values: Sequence[float], column: _Column | None = None) -> _Group:
    """Each of the values against all of them."""
    middle = median(values)
    scale = scale_of(values, middle)
    outs = [value - middle for value in values]
    return _Group(look, places, outs, [out / scale for out in outs], column)


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


def _looks(look: Look, outs: Mapping[Place, float], noise: Mapping[Place, float] | None = None) -> _Family:
    """Each GPU, or each node, against all others; `noise` shows their tail, the same unless given."""
    if len(outs) < FEWEST:
        return _Family()
    group = _group(look, list(outs), list(outs.values()))
    others = group if noise is None else _group(look, list(noise), list(noise.values()))
    return _Family([group], others.zs)


def _chances(group: _Group, tail: NoiseTail) -> list[float]:
    """The chance of one as far out to the slow side, for each of a group."""
    outs: dict[str, list[float]] = {}
    for (node, _), out in zip(group.places, group.outs, strict=True):
        outs.setdefault(node, []).append(out)
    return list(map(chance_of_noise(list(outs.values()), tail), group.zs))


def _outlier(product: str, group: _Group, at: int, chance: float, figures: int) -> Outlier:
    node, gpu = group.places[at]
    column = group.column
    return Outlier(
        look=group.look,
        product=product,
        node=node,
        gpu=gpu or None,
        behind=-math.expm1(-group.outs[at]),
        z=group.zs[at],
        chance=chance,
        check=None if column is None else column.key.check,
        metric=None if column is None else column.key.metric,
        unit=None if column is None else column.key.unit,
        value=None if column is None else column.values[at].value,
        middle=None if column is None else column.middle,
        figures=figures,
    )
