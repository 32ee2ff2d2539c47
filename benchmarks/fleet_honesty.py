"""How often a search for slow GPUs in a fleet is wrong, and how often it finds one: fleets whose truth is known.

    .venv/bin/python -m benchmarks.fleet_honesty [FLEETS] [--write]

Noise is of four kinds at once: of a node (its heat), of a GPU (its silicon), of a figure on a GPU, each normal or with
the tails of Student's t. `--write` puts the table into docs/fleet.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plimsoll.fleet.outliers import FigureKey, FigureValue, Look, Outlier, OutlierSearch, find_outliers

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "fleet.md"
_BEGIN, _END = "<!-- table outliers -->", "<!-- end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A fleet of one kind; spreads are standard deviations of logarithms, or the scale of Student's t."""

    name: str
    nodes: int = 64
    gpus: int = 8
    figures: int = 10
    node: float = 0.003
    gpu: float = 0.007
    figure: float = 0.007
    node_tail: float = 0.0
    gpu_tail: float = 0.0
    figure_tail: float = 0.0
    """Degrees of freedom; 0 for a normal distribution."""


KINDS: Final = (
    Kind(name="64 nodes of 8 GPUs"),
    Kind(name="noise of each figure alone, 1.5 %", node=0.0, gpu=0.0, figure=0.015),
    Kind(name="nodes differ, 1 %", node=0.01, gpu=0.005, figure=0.005),
    Kind(name="GPUs differ, 1 %", gpu=0.01, figure=0.003),
    Kind(name="heavy tails of figures, t of 3", figure=0.01, figure_tail=3.0),
    Kind(name="very heavy tails of figures, t of 2", figure=0.01, figure_tail=2.0),
    Kind(name="heavy tails of GPUs, t of 4", gpu=0.01, gpu_tail=4.0),
    Kind(name="heavy tails of GPUs, t of 3", gpu=0.01, gpu_tail=3.0),
    Kind(name="heavy tails of nodes, t of 3", node=0.01, node_tail=3.0),
    Kind(name="one GPU a node", gpus=1),
    Kind(name="three figures", figures=3),
    Kind(name="one figure", figures=1),
    Kind(name="noisy, 3 % each", node=0.03, gpu=0.03, figure=0.03),
    Kind(name="16 nodes of 8", nodes=16),
    Kind(name="2 nodes of 8", nodes=2),
    Kind(name="2 nodes of 8, which differ by 3 %", nodes=2, node=0.03),
    Kind(name="3 nodes of 4, which differ by 3 %", nodes=3, gpus=4, node=0.03),
    Kind(name="5 nodes of 8, which differ by 3 %", nodes=5, node=0.03),
    Kind(name="8 nodes of 1, 2 % each", nodes=8, gpus=1, node=0.02, gpu=0.02, figure=0.02),
    Kind(name="4 GPUs, 2 % each", nodes=1, gpus=4, gpu=0.02, figure=0.02),
    Kind(name="8 GPUs, t of 3", nodes=1, gpus=8, gpu=0.01, figure=0.01, gpu_tail=3.0, figure_tail=3.0),
)


def fleets(kind: Kind, seed: int, count: int, *, slower: float = 1.0) -> Iterator[OutlierSearch]:
    """What is found in each of so many fleets; the first GPU of the first node is slower by the factor in all."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield find_outliers(_figures(kind, random, slower))


def _noise(random: np.random.Generator, shape: tuple[int, ...], scale: float, tail: float) -> NDArray[np.float64]:
    drawn = random.standard_t(tail, shape) if tail else random.standard_normal(shape)
    return np.asarray(scale * drawn)


def _figures(kind: Kind, random: np.random.Generator, slower: float) -> dict[FigureKey, list[FigureValue]]:
    logs = (
        _noise(random, (1, kind.nodes, 1), kind.node, kind.node_tail)
        + _noise(random, (1, kind.nodes, kind.gpus), kind.gpu, kind.gpu_tail)
        + _noise(random, (kind.figures, kind.nodes, kind.gpus), kind.figure, kind.figure_tail)
    )
    rates = np.exp(logs)
    rates[:, 0, 0] /= slower
    places = [(f"node{node}", f"gpu{gpu}") for node in range(kind.nodes) for gpu in range(kind.gpus)]
    return {
        FigureKey(product="a GPU", check=f"check {number}", metric="matmul_rate", unit="FLOP/s"): [
            FigureValue(node, gpu, rate) for (node, gpu), rate in zip(places, own, strict=True)
        ]
        for number, own in enumerate(rates.reshape(kind.figures, -1).tolist())
    }


def false_alarms(kind: Kind, count: int, seed: int = 1) -> float:
    """The share of healthy fleets in which anything is named."""
    return sum(bool(found.outliers) for found in fleets(kind, seed, count)) / count


def power(kind: Kind, count: int, seed: int = 2, slower: float = 1 / 0.92) -> float:
    """The share of fleets in which the slow GPU is named, by whatever look."""
    return sum(any(map(_is_the_slow_one, found.outliers)) for found in fleets(kind, seed, count, slower=slower)) / count


def slow_ones_found(kind: Kind, every: int, slower: float, seed: int = 3) -> float:
    """Of every so-manyth GPU, all slower by the factor, the share that is named in one fleet."""
    random = np.random.default_rng(seed)
    figures = _figures(kind, random, 1.0)
    planted = {
        (value.node, value.gpu) for place, value in enumerate(next(iter(figures.values()))) if place % every == 0
    }
    spoiled = {
        key: [
            replace(value, value=value.value / slower) if (value.node, value.gpu) in planted else value
            for value in values
        ]
        for key, values in figures.items()
    }
    named = {(one.node, one.gpu) for one in find_outliers(spoiled).outliers}
    return len(planted & named) / len(planted)


def _is_the_slow_one(one: Outlier) -> bool:
    return (one.node, one.gpu) == ("node0", "gpu0") and one.look is not Look.NODE


def rows(count: int) -> Iterator[tuple[str, str, str]]:
    """Name, share of false alarms, share of slow GPUs found."""
    for kind in KINDS:
        yield kind.name, f"{false_alarms(kind, count):.1%}", f"{power(kind, count):.1%}"


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fleets", type=int, nargs="?", default=200)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = ["| fleet | a false alarm | a GPU 8 % slower is found |", "| --- | --: | --: |"]
    for row in rows(options.fleets):
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1])
        sys.stdout.flush()
    if options.write:
        text = DOCUMENT.read_text()
        head, rest = text.split(_BEGIN)
        tail = rest.split(_END, 1)[1]
        DOCUMENT.write_text(f"{head}{_BEGIN}\n\n{chr(10).join(lines)}\n\n{_END}{tail}")


if __name__ == "__main__":
    main()
