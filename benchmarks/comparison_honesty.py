"""Is `plimsoll compare` honest? Simulated runs in which the truth is known, judged by the tool's own functions.

    python -m benchmarks.comparison_honesty [--runs N] [--write]

Prints tables; with --write puts them, and the curves as SVG, into docs/. Three questions: how often is a word false
when nothing has changed, how surely is a change found with the number of rounds that the tool names, and how often is
"same" said of times that are not. Deterministic: the same N gives the same figures.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.comparison_noise import EQUAL, UNSTEADY, Noise, Times, log_normal, log_sigma
from plimsoll.compare import steadiness
from plimsoll.compare.rounds import rounds_for_same, rounds_to_find
from plimsoll.compare.rule import Rule, Word, decide
from plimsoll.present.drawing import BAD, GAP, GOOD, INK, NEAR, drawing, svg, svg_file
from plimsoll.statistics.correction import holm
from plimsoll.statistics.ranks import (
    deflated,
    rank_test,
    ratio_interval,
    smallest_p,
    widened,
    within_reach,
)
from plimsoll.statistics.seeded import generator

DOCS: Final = Path(__file__).parents[1] / "docs"
METRICS: Final = 44
"""Times that the tiny tier compares."""
ROUNDS: Final = rounds_to_find(log_sigma(0.05), METRICS, Rule()) or 0
"""Rounds a side that the tool names for 44 times at 5 % noise."""
NOISES: Final = (0.05, 0.10, 0.20)
COLOURS: Final = (INK, BAD, GAP, GOOD, NEAR)


def words(base: Times, other: Times, rule: Rule, likes: Sequence[Times] = ()) -> dict[int, Word]:
    """The metrics that `compare` would call faster or slower, with the word, in a comparison of two runs.

    The short way: no interval for what is not significant. `tests/simulation/test_compare_honesty.py` holds it against
    `compare`.
    """
    factor = _factor(base, other, likes)
    able = within_reach([deflated(smallest_p(base.shape[1], other.shape[1]), factor)] * len(base), rule.alpha)
    if not any(able) or min(base.shape[1], other.shape[1]) < rule.fewest_rounds:
        return {}
    p_values = holm([deflated(float(p), factor) for p in rank_test(base, other, generator("rank test"))])
    found: dict[int, Word] = {}
    for i, p in enumerate(p_values):
        if p < rule.alpha:
            ratio = float(np.median(other[i]) / np.median(base[i]))
            interval = ratio_interval(base[i], other[i], rule.confidence, generator("interval", str(i)))
            word, _ = decide(ratio, widened(interval, ratio, math.sqrt(factor)), p, rule)
            if word in (Word.FASTER, Word.SLOWER):
                found[i] = word
    return found


def _factor(base: Times, other: Times, likes: Sequence[Times]) -> float:
    runs = [dict(zip(((str(i), "time") for i in range(len(run))), run, strict=True)) for run in (base, other, *likes)]
    within = steadiness.within(("A", runs[0]), ("B", runs[1])).factor
    between = steadiness.between([("A", runs[0]), *(("like", run) for run in runs[2:])]).factor
    return max(within, between)


def false_alarms(noise: Noise, cv: float, rounds: int, runs: int, likes: int = 0) -> tuple[float, float]:
    """The share of comparisons of equal runs with any false word, and of those with a false "slower"."""
    random = generator("false alarms", noise.__name__, str(cv), str(rounds), str(likes))
    wrong = slower = 0
    for _ in range(runs):
        base, other, *more = (noise(random, METRICS, rounds, cv) for _ in range(2 + likes))
        found = words(base, other, Rule(), more)
        wrong += bool(found)
        slower += Word.SLOWER in found.values()
    return wrong / runs, slower / runs


def found(cv: float, metrics: int, rounds: int, runs: int) -> float:
    """The share of comparisons in which a 10 % slow-down of one metric is called slower."""
    random = generator("power", str(cv), str(metrics), str(rounds))
    hits = 0
    for _ in range(runs):
        base, other = (log_normal(random, metrics, rounds, cv) for _ in range(2))
        other[0] *= 1.0 + Rule().change
        hits += words(base, other, Rule()).get(0) is Word.SLOWER
    return hits / runs


def called_same(cv: float, ratio: float, rounds: int, runs: int) -> float:
    """The share of times, with this true ratio, that are called the same."""
    random = generator("same", str(cv), str(ratio), str(rounds))
    rule = Rule()
    hits = 0
    for i in range(runs):
        base, other = log_normal(random, 2, rounds, cv)
        interval = ratio_interval(base, other * ratio, rule.confidence, generator("interval", str(i)))
        hits += decide(float(np.median(other * ratio) / np.median(base)), interval, 1.0, rule)[0] is Word.SAME
    return hits / runs


def false_alarm_table(runs: int) -> list[list[str]]:
    """False words with equal distributions."""
    rows = [["equal runs", "noise", f"any false word, {ROUNDS} rounds", "95 % interval", 'false "slower"']]
    for name, noise in EQUAL.items():
        for cv in NOISES:
            wrong, slower = false_alarms(noise, cv, ROUNDS, runs)
            rows.append([name, f"{cv:.0%}", f"{wrong:.1%}", _interval(wrong, runs), f"{slower:.1%}"])
    return rows


def unsteady_table(runs: int) -> list[list[str]]:
    """False words where runs differ though nothing was changed, without and with runs to learn that from."""
    rows = [["unsteady runs, noise 5 %", *(f"{n} like runs" if n else "two runs alone" for n in (0, 1, 3))]]
    for name, noise in UNSTEADY.items():
        shares = [false_alarms(noise, 0.05, ROUNDS, runs, likes)[0] for likes in (0, 1, 3)]
        rows.append([name, *(f"{share:.1%}" for share in shares)])
    return rows


def power_table(runs: int) -> list[list[str]]:
    """The rounds that the tool names, and how surely a 10 % slow-down is found with them."""
    rows = [["noise", "times compared", "rounds named", "10 % slower is found", "95 % interval"]]
    for cv in (0.01, 0.02, 0.05, 0.10):
        for metrics in (1, 10, METRICS):
            rounds = rounds_to_find(log_sigma(cv), metrics, Rule())
            assert rounds is not None
            share = found(cv, metrics, rounds, runs)
            rows.append([f"{cv:.0%}", str(metrics), str(rounds), f"{share:.1%}", _interval(share, runs)])
    return rows


def same_table(runs: int) -> list[list[str]]:
    """The rounds that the tool names for "same", and how often it is said of equal and of unequal times."""
    edge = 1.0 + Rule().margin
    rows = [["noise", "rounds named", "equal times are called same", "times 5 % apart are", "times 10 % apart are"]]
    for cv in (0.01, 0.02, 0.05):
        rounds = rounds_for_same(log_sigma(cv), Rule())
        assert rounds is not None
        shares = [called_same(cv, ratio, rounds, runs) for ratio in (1.0, edge, 1.1)]
        rows.append([f"{cv:.0%}", str(rounds), *(f"{share:.1%}" for share in shares)])
    return rows


def _interval(share: float, runs: int) -> str:
    """Wilson's interval of a share."""
    z = 1.96
    centre = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    return f"{max(0.0, centre - half):.1%} to {centre + half:.1%}"


def false_alarm_curves(runs: int) -> str:
    """Any false word against the number of rounds."""
    counts = (5, 7, 8, 10, 14, 20, 30)
    lines = {
        f"{name}, noise {cv:.0%}": [false_alarms(noise, cv, n, runs)[0] for n in counts]
        for name, noise in EQUAL.items()
        for cv in (0.05, 0.20)
    }
    return _curves("false-alarms", counts, lines, "comparisons with any false word", 0.05, top=0.12)


def power_curves(runs: int) -> str:
    """A 10 % slow-down found, against the number of rounds."""
    counts = (5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 30, 40, 60)
    lines = {
        f"noise {cv:.0%}, {metrics} {'time' if metrics == 1 else 'times'}": [
            found(cv, metrics, n, runs) for n in counts
        ]
        for cv in (0.02, 0.05, 0.10)
        for metrics in (1, METRICS)
    }
    return _curves("power", counts, lines, "a slow-down of 10 % is found", 0.95, top=1.02)


def same_curves(runs: int) -> str:
    """Equal times called the same, against the number of rounds."""
    counts = (5, 7, 10, 15, 20, 30, 40, 50, 60)
    lines = {f"equal, noise {cv:.0%}": [called_same(cv, 1.0, n, runs) for n in counts] for cv in (0.02, 0.05)}
    lines |= {f"5 % apart, noise {cv:.0%}": [called_same(cv, 1.05, n, runs) for n in counts] for cv in (0.02, 0.05)}
    return _curves("same", counts, lines, 'called "same"', 0.95, top=1.02)


def _curves(
    salt: str, counts: Sequence[int], lines: dict[str, list[float]], title: str, wanted: float, *, top: float
) -> str:
    with drawing(7.5, 4.0, salt=salt) as figure:
        axes = figure.subplots()
        axes.axhline(wanted, color=BAD, linewidth=0.8, linestyle="--")
        for i, (name, shares) in enumerate(lines.items()):
            colour = COLOURS[i // 2 % len(COLOURS)]
            axes.plot(counts, shares, color=colour, linestyle=("-", ":")[i % 2], marker="o", markersize=3, label=name)
        axes.set_xlabel("rounds a side")
        axes.set_ylabel(title)
        axes.set_ylim(0.0, top)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid()
        axes.legend(loc="best", fontsize=8)
        return svg_file(svg(figure))


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """A table, its first row the head."""
    head, *body = rows
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


OTHER_TABLES: Final = {"unsteady": unsteady_table, "power": power_table, "same": same_table}


def main(runs: int, write: bool) -> None:
    """Simulate, print, and write where asked to."""
    # The one promise that is a bound gets the sharpest figures.
    tables = {"false-alarms": markdown(false_alarm_table(2 * runs))}
    tables |= {name: markdown(make(runs)) for name, make in OTHER_TABLES.items()}
    for name, table in tables.items():
        print(f"{name}\n{table}\n", flush=True)
    if not write:
        return
    curves = {"false-alarms": false_alarm_curves, "power": power_curves, "same": same_curves}
    for name, draw in curves.items():
        (DOCS / f"comparison-{name}.svg").write_text(draw(runs // 2), "utf-8")
    page = DOCS / "comparison.md"
    text = page.read_text("utf-8")
    for name, table in tables.items():
        head, rest = text.split(f"<!-- table {name} -->\n", maxsplit=1)
        _, tail = rest.split("<!-- end -->", maxsplit=1)
        text = f"{head}<!-- table {name} -->\n\n{table}\n\n<!-- end -->{tail}"
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="comparisons a figure (default: 1000)")
    parser.add_argument("--write", action="store_true", help="write the tables and curves into docs/")
    options = parser.parse_args()
    main(options.runs, options.write)
