"""Do the intervals of an AUROC hold the truth, and do tests of two AUROCs cry wolf? Simulated answers, known truth.

    python -m benchmarks.auroc_coverage [--runs N] [--write]

Scores of both kinds are normal. Prints tables; with --write puts them into docs/uncertainty.md. Deterministic: the same
N gives the same figures. Some two minutes of one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

from plimsoll.statistics.auroc import Flags, Numbers, auroc, newcombe_interval
from plimsoll.statistics.difference import delong_test, unpaired_test
from plimsoll.statistics.seeded import generator

DOCS: Final = Path(__file__).parents[1] / "docs" / "uncertainty.md"
KINDS: Final = ((5, 35), (10, 90), (20, 20), (40, 360))
"""Answers of the two kinds."""
AUROCS: Final = (0.5, 0.75, 0.9, 0.97)


def shift(value: float) -> float:
    """By how many standard deviations normal scores of the two kinds lie apart at this AUROC."""
    return math.sqrt(2.0) * float(stats.norm.ppf(value))


def labels(ones: int, zeros: int) -> Flags:
    """So many of the positive kind, then the others."""
    return np.arange(ones + zeros) < ones


def coverage(ones: int, zeros: int, value: float, runs: int) -> float:
    """The share of intervals that hold the true AUROC."""
    random = generator("auroc coverage", str(ones), str(zeros), str(value))
    positive = labels(ones, zeros)
    held = 0
    for _ in range(runs):
        scores = random.standard_normal(ones + zeros) + shift(value) * positive
        interval = newcombe_interval(auroc(scores, positive), ones, zeros)
        held += interval.low <= value <= interval.high
    return held / runs


def false_differences(ones: int, zeros: int, value: float, runs: int) -> tuple[float, float]:
    """How often two equal scores differ at the level of 5 %: of the same answers, and of different ones."""
    random = generator("auroc tests", str(ones), str(zeros), str(value))
    positive = labels(ones, zeros)

    def drawn() -> Numbers:
        return random.standard_normal(ones + zeros) + shift(value) * positive

    paired = sum(delong_test(drawn(), drawn(), positive).p < 0.05 for _ in range(runs))
    unpaired = sum(unpaired_test((drawn(), positive), (drawn(), positive)).p < 0.05 for _ in range(runs))
    return paired / runs, unpaired / runs


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(runs: int, write: bool) -> None:
    """Simulate, print, and write where asked to."""
    head = ["answers of the two kinds", *(f"AUROC {value:g}" for value in AUROCS)]
    covered, wrong = [], []
    for ones, zeros in KINDS:
        name = f"{ones} and {zeros}"
        covered.append([name, *(f"{coverage(ones, zeros, value, runs):.1%}" for value in AUROCS)])
        pairs = (false_differences(ones, zeros, value, runs) for value in AUROCS)
        wrong.append([name, *(f"{paired:.1%}, {unpaired:.1%}" for paired, unpaired in pairs)])
    tables = {"auroc-coverage": _table(head, covered), "auroc-tests": _table(head, wrong)}
    text = DOCS.read_text("utf-8")
    for name, table in tables.items():
        print(f"{name}\n{table}\n", flush=True)
        start, rest = text.split(f"<!-- table {name} -->\n", maxsplit=1)
        text = f"{start}<!-- table {name} -->\n\n{table}\n\n<!-- end -->{rest.split('<!-- end -->', maxsplit=1)[1]}"
    if write:
        DOCS.write_text(text, "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000, help="answer sets a figure (default: 4000)")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/")
    options = parser.parse_args()
    main(options.runs, options.write)
