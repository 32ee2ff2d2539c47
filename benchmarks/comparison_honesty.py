"""Is `plimsoll compare` honest? Simulated runs in which the truth is known, judged by the tool's own functions.

    python -m benchmarks.comparison_honesty [--runs N] [--write]

Prints tables; with --write puts them, and the curves as SVG, into docs/. Four questions: how often is a word false when
nothing has changed, also where rounds go together; how often does an interval hold the truth; how surely is a change
found with the number of rounds that the tool names; and how often is "same" said of times that are not. Deterministic:
the same N gives the same figures. Some five minutes of one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison_noise import EQUAL, TOGETHER, UNSTEADY, Noise, Times, log_normal, log_sigma
from plimsoll.compare import steadiness
from plimsoll.compare.judging import Judged, judge
from plimsoll.compare.rounds import rounds_for_same, rounds_to_find
from plimsoll.compare.rule import Rule
from plimsoll.present.drawing import BAD, GAP, GOOD, INK, NEAR, drawing, svg, svg_file
from plimsoll.statistics.seeded import generator

DOCS: Final = Path(__file__).parents[1] / "docs"
METRICS: Final = 44
"""Times that the tiny tier compares."""
NOISES: Final = (0.05, 0.20)
COLOURS: Final = (INK, BAD, GAP, GOOD, NEAR)
SIZES: Final = ((1, 8), (1, 21), (5, 8), (5, 21), (20, 21), (METRICS, 8))
"""Times compared, and rounds a side."""
_AT_ONCE: Final = 1200
"""Times that are judged in one go, which bounds the memory."""

Words = NDArray[np.int8]
"""1 where a time is called slower, -1 for faster, 2 for the same, 0 for too few samples: (runs, times)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What many comparisons of runs with a known truth came to."""

    words: Words
    held: NDArray[np.bool_]
    """Whether the interval holds the true ratio."""

    @property
    def alarmed(self) -> float:
        """The share of comparisons in which any time is called slower or faster."""
        return float((np.abs(self.words) == 1).any(axis=-1).mean())


def words(judged: Judged, rule: Rule) -> Words:
    """The words of `compare`, for arrays; a test in `tests/simulation/` holds them against `compare`."""
    count = judged.p.shape[-1]
    order = np.argsort(judged.p, axis=-1)
    steps = np.take_along_axis(judged.p, order, axis=-1) * (count - np.arange(count))
    adjusted = np.empty_like(judged.p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(steps, axis=-1), axis=-1)
    differs = (
        (adjusted < rule.alpha) & ((judged.low > 0.0) | (judged.high < 0.0)) & (np.abs(judged.ratio) > judged.needed)
    )
    same = (judged.low > -rule.log_margin) & (judged.high < rule.log_margin)
    return np.where(differs, np.sign(judged.ratio), np.where(same, 2, 0)).astype(np.int8)


def simulate(noise: Noise, cv: float, times: int, rounds: int, runs: int, slower: float = 1.0) -> Outcome:
    """Comparisons of pairs of runs; the first time of the second run is slower by this factor."""
    random = generator("honesty", str(cv), str(times), str(rounds), str(slower))
    found = []
    left = runs
    while left > 0:
        count = min(left, max(1, _AT_ONCE // times))
        base, other = (noise(random, (count, times, rounds), cv) for _ in range(2))
        other[:, 0] *= slower
        (judged,), _ = judge([(np.log(base), np.log(other))], Rule())
        true = np.zeros(times)
        true[0] = math.log(slower)
        found.append((words(judged, Rule()), (judged.low <= true) & (true <= judged.high)))
        left -= count
    return Outcome(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def unsteady_alarms(noise: Noise, cv: float, rounds: int, runs: int, likes: int) -> float:
    """The share of comparisons of runs that differ though nothing was changed with any false word, given like runs."""
    random = generator("unsteady", noise.__name__, str(cv), str(rounds), str(likes))
    wrong = 0
    for _ in range(runs):
        base, other, *more = (noise(random, (METRICS, rounds), cv) for _ in range(2 + likes))
        between = steadiness.between([_named("base", base), *(_named("like", run) for run in more)]).factor
        (judged,), _ = judge([(np.log(base), np.log(other))], Rule(), between=between)
        wrong += bool((np.abs(words(judged, Rule())) == 1).any())
    return wrong / runs


def _named(name: str, times: Times) -> tuple[str, steadiness.Rounds]:
    return name, {(str(i), "time"): row for i, row in enumerate(times)}


def false_alarm_table(runs: int) -> list[list[str]]:
    """False words, and what intervals hold, where nothing has changed."""
    heads = [f"{times} x {rounds}" for times, rounds in SIZES]
    rows = [["equal runs: times x rounds a side", "noise", *heads]]
    for name, noise in {**EQUAL, **TOGETHER}.items():
        for cv in NOISES if name == "log-normal" else (0.05,):
            cells = []
            for times, rounds in SIZES:
                # A comparison of many times is as much work as many comparisons of one.
                count = runs if times == 1 else runs // (4 if times == 5 else 12)
                found = simulate(noise, cv, times, rounds, count)
                cells.append(f"{found.alarmed:.1%} ({found.held.mean():.0%})")
            rows.append([name, f"{cv:.0%}", *cells])
    return rows


def unsteady_table(runs: int) -> list[list[str]]:
    """False words where runs differ though nothing was changed, without and with runs to learn that from."""
    rows = [["unsteady runs, noise 5 %", *(f"{n} like runs" if n else "two runs alone" for n in (0, 1, 3))]]
    for name, noise in UNSTEADY.items():
        shares = [unsteady_alarms(noise, 0.05, 21, max(20, runs // 16), likes) for likes in (0, 1, 3)]
        rows.append([name, *(f"{share:.1%}" for share in shares)])
    return rows


def power_table(runs: int) -> list[list[str]]:
    """The rounds that the tool names, and how surely a slow-down is found with them."""
    rows = [["slow-down", "noise", "times compared", "rounds named", "it is found", "95 % interval"]]
    for change, noises in ((0.10, (0.02, 0.05, 0.10)), (1.0, (0.05, 0.10))):
        rule = Rule(change=change)
        for cv in noises:
            for times in (1, 10, METRICS):
                rounds = rounds_to_find(log_sigma(cv), times, rule)
                assert rounds is not None
                count = runs // (1 if times == 1 else 4 if times == 10 else 12)
                share = float((simulate(log_normal, cv, times, rounds, count, 1.0 + change).words[:, 0] == 1).mean())
                rows.append(
                    [f"{change:.0%}", f"{cv:.0%}", str(times), str(rounds), f"{share:.1%}", _interval(share, count)]
                )
    return rows


def called_same(cv: float, ratio: float, rounds: int, runs: int, times: int = 10) -> float:
    """The share of times, with this true ratio, that are called the same, when `times` are compared."""
    random = generator("same", str(cv), str(ratio), str(rounds))
    base, other = (log_normal(random, (max(1, runs // times), times, rounds), cv) for _ in range(2))
    (judged,), _ = judge([(np.log(base), np.log(other * ratio))], Rule())
    return float((words(judged, Rule()) == 2).mean())


def same_table(runs: int) -> list[list[str]]:
    """The rounds that the tool names for "same", and how often it is said of equal and of unequal times."""
    edge = 1.0 + Rule().margin
    rows = [["noise", "rounds named", "equal times are called same", "times 5 % apart are", "times 10 % apart are"]]
    for cv in (0.01, 0.02, 0.05):
        rounds = rounds_for_same(log_sigma(cv), 10, Rule())
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
    """Any false word of five times against the number of rounds, where rounds go together."""
    counts = (5, 8, 12, 16, 21, 30)
    lines = {
        name: [simulate(noise, 0.05, 5, n, runs).alarmed for n in counts]
        for name, noise in {"log-normal": log_normal, **TOGETHER}.items()
        if name not in ("autoregressive, 0.3", "sticky clock, stays 0.8")
    }
    return _curves("false-alarms", counts, lines, "comparisons of 5 times with any false word", 0.05, top=0.12)


def power_curves(runs: int) -> str:
    """A 10 % slow-down found, against the number of rounds."""
    counts = (8, 12, 16, 20, 24, 28, 32, 40, 60)
    lines = {}
    for cv in (0.02, 0.05, 0.10):
        for times in (1, METRICS):
            name = f"noise {cv:.0%}, {times} {'time' if times == 1 else 'times'}"
            count = runs if times == 1 else max(50, runs // 8)
            lines[name] = [
                float((simulate(log_normal, cv, times, n, count, 1.1).words[:, 0] == 1).mean()) for n in counts
            ]
    return _curves("power", counts, lines, "a slow-down of 10 % is found", 0.95, top=1.02)


def same_curves(runs: int) -> str:
    """Equal times called the same, against the number of rounds."""
    counts = (5, 7, 10, 15, 20, 30, 40, 50, 60)
    lines = {f"equal, noise {cv:.0%}": [called_same(cv, 1.0, n, runs) for n in counts] for cv in (0.02, 0.05)}
    lines |= {f"5 % apart, noise {cv:.0%}": [called_same(cv, 1.05, n, runs) for n in counts] for cv in (0.02, 0.05)}
    return _curves("same", counts, lines, 'called "same", of 10 times', 0.95, top=1.02)


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


TABLES: Final = {
    "false-alarms": false_alarm_table,
    "power": power_table,
    "same": same_table,
    "unsteady": unsteady_table,
}


def main(runs: int, write: bool) -> None:
    """Simulate, print, and write where asked to."""
    for name, make in TABLES.items():
        table = markdown(make(runs))
        print(f"{name}\n{table}\n", flush=True)
        if write:
            _write_table(name, table)
    if write:
        curves = {"false-alarms": false_alarm_curves, "power": power_curves, "same": same_curves}
        for name, draw in curves.items():
            (DOCS / f"comparison-{name}.svg").write_text(draw(runs // 4), "utf-8")


def _write_table(name: str, table: str) -> None:
    page = DOCS / "comparison.md"
    head, rest = page.read_text("utf-8").split(f"<!-- table {name} -->\n", maxsplit=1)
    _, tail = rest.split("<!-- end -->", maxsplit=1)
    page.write_text(f"{head}<!-- table {name} -->\n\n{table}\n\n<!-- end -->{tail}", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=800, help="comparisons a figure (default: 800)")
    parser.add_argument("--write", action="store_true", help="write the tables and curves into docs/")
    options = parser.parse_args()
    main(options.runs, options.write)
