"""Compares: pairs the sides, tests every time, corrects for all of the tests together, and gives each its word."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plimsoll.compare import steadiness
from plimsoll.compare.machine import differences, unlike
from plimsoll.compare.pairing import absent, figure_rows, outcome_changes, shared_times
from plimsoll.compare.result import Comparison, Mismatch, TimeRow, Versus
from plimsoll.compare.rounds import rounds_for_same, rounds_to_find
from plimsoll.compare.rule import Rule, Word, decide
from plimsoll.compare.side import Side, Timed
from plimsoll.errors import PlimsollError
from plimsoll.statistics.correction import holm
from plimsoll.statistics.interval import Interval
from plimsoll.statistics.ranks import (
    Samples,
    cliffs_delta,
    deflated,
    log_noise,
    rank_test,
    ratio_interval,
    smallest_p,
    widened,
    within_reach,
)
from plimsoll.statistics.seeded import generator

_ASSUMED_NOISE = 0.05
"""The noise for which a number of rounds is named where there are too few rounds to see any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """A pair of times on its way through the correction. `p` and `smallest` already allow for unsteadiness."""

    base: Timed
    other: Timed
    factor: float
    p: float | None
    smallest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairing:
    """The times of one side and the base, tested and not yet corrected."""

    other: Side
    tests: list[_Test]
    mismatched: list[Mismatch]
    factor: float
    steadiness: tuple[str, ...]


def compare(sides: Sequence[Side], rule: Rule, *, likes: Sequence[Side] = (), force_unlike: bool = False) -> Comparison:
    """Hold every further side against the first.

    `likes` are more runs of the first one's configuration: how much they differ is what any difference must exceed.
    Raises PlimsollError for fewer than two sides, for one given twice, and for unlike machines unless `force_unlike`
    is given.
    """
    base, *others = sides
    _refuse_repeats([*sides, *likes])
    if not force_unlike:
        _refuse_unlike(base, [*others, *likes])
    between = steadiness.between([(side.name, _rounds(side)) for side in (base, *likes)])
    pairings = [_pair(base, other, between, rule) for other in others]
    everything = [test for pairing in pairings for test in pairing.tests]
    adjusted = _adjusted(everything, rule)
    corrected = iter(adjusted)
    return Comparison(
        rule=rule,
        sides=tuple(sides),
        likes=tuple(likes),
        differences=differences([*sides, *likes]),
        versus=tuple(
            _versus(base, pairing, [next(corrected) for _ in pairing.tests], len(everything), rule)
            for pairing in pairings
        ),
        tests=sum(p is not None for p in adjusted),
    )


def _adjusted(tests: Sequence[_Test], rule: Rule) -> list[float | None]:
    """The p-values, corrected for all tests together; None for what could not reach significance at all."""
    able = within_reach([test.smallest for test in tests], rule.alpha)
    family = [i for i, test in enumerate(tests) if able[i] and test.p is not None]
    adjusted: list[float | None] = [None] * len(tests)
    for i, p in zip(family, holm([tests[i].p or 0.0 for i in family]), strict=True):
        adjusted[i] = p
    return adjusted


def _refuse_repeats(sides: Sequence[Side]) -> None:
    if len(sides) < 2:
        raise PlimsollError("a comparison needs two runs or more; give a base and what to hold against it")
    seen: set[object] = set()
    for side in sides:
        if side.path.resolve() in seen:
            raise PlimsollError(f"{side.name} is given twice: a run compared with itself is always the same")
        seen.add(side.path.resolve())


def _refuse_unlike(base: Side, others: Sequence[Side]) -> None:
    for other in others:
        if reasons := unlike(base.machine, base.name, other.machine, other.name):
            raise PlimsollError(
                f"{base.name} and {other.name} are not from like machines: {'; '.join(reasons)}; "
                "use --force-unlike to compare them all the same"
            )


def _rounds(side: Side) -> steadiness.Rounds:
    return {key: np.asarray(timed.rounds, dtype=np.float64) for key, timed in side.timed.items() if timed.rounds}


def _pair(base: Side, other: Side, between: steadiness.Steadiness, rule: Rule) -> _Pairing:
    pairs, mismatched = shared_times(base, other)
    within = steadiness.within((base.name, _rounds(base)), (other.name, _rounds(other)))
    factor = max(between.factor, within.factor)
    return _Pairing(
        other=other,
        tests=[_test(ours, theirs, factor, rule) for ours, theirs in pairs],
        mismatched=mismatched,
        factor=factor,
        steadiness=tuple(found.text for found in (within, between) if found.text),
    )


def _test(base: Timed, other: Timed, factor: float, rule: Rule) -> _Test:
    ours, theirs = _samples(base), _samples(other)
    if min(ours.size, theirs.size) < rule.fewest_rounds:
        return _Test(base=base, other=other, factor=factor, p=None, smallest=1.0)
    p = float(rank_test(ours, theirs, generator("rank test", base.cell, base.metric)))
    smallest = smallest_p(ours.size, theirs.size)
    return _Test(base=base, other=other, factor=factor, p=deflated(p, factor), smallest=deflated(smallest, factor))


def _samples(timed: Timed) -> Samples:
    """The rounds as times, so that more is always slower: a rate becomes the time of one unit."""
    values = np.asarray(timed.rounds, dtype=np.float64)
    return 1.0 / values if timed.higher_is_better else values


def _versus(base: Side, pairing: _Pairing, adjusted: Sequence[float | None], tests: int, rule: Rule) -> Versus:
    other = pairing.other
    times = tuple(_row(test, p, tests, rule) for test, p in zip(pairing.tests, adjusted, strict=True))
    memory, figures = figure_rows(base, other, rule)
    logs = [math.log(row.ratio) for row in times]
    return Versus(
        base=base,
        other=other,
        unlike=unlike(base.machine, base.name, other.machine, other.name),
        times=times,
        memory=tuple(memory),
        figures=tuple(figures),
        missing=tuple(absent(base, other)),
        added=tuple(absent(other, base)),
        mismatched=tuple(pairing.mismatched),
        outcomes=tuple(outcome_changes(base, other)),
        overall=math.exp(statistics.fmean(logs)) if logs else None,
        steadiness=pairing.steadiness,
        variance_factor=pairing.factor,
    )


def _row(test: _Test, p_adjusted: float | None, tests: int, rule: Rule) -> TimeRow:
    base, other = test.base, test.other
    ours, theirs = _samples(base), _samples(other)
    ratio = base.median / other.median if base.higher_is_better else other.median / base.median
    is_enough = min(ours.size, theirs.size) >= rule.fewest_rounds
    interval = _interval(test, ours, theirs, ratio, rule) if is_enough else None
    word, why = decide(ratio, interval, p_adjusted, rule)
    noise = log_noise(ours, theirs) if is_enough else None
    assumed = _ASSUMED_NOISE if noise is None else round(noise, 4)
    # More rounds say nothing more of a machine that is another one in the next run.
    is_steady = test.factor == 1.0
    to_find = rounds_to_find(assumed, tests, rule) if is_steady else None
    for_same = rounds_for_same(assumed, rule) if is_steady else None
    return TimeRow(
        base=base,
        other=other,
        ratio=ratio,
        interval=interval,
        p=test.p,
        p_adjusted=p_adjusted,
        delta=cliffs_delta(ours, theirs) if min(ours.size, theirs.size) else None,
        noise=noise,
        word=word,
        why=why if word is not Word.TOO_FEW else _too_few(why, test, noise, to_find, for_same, rule),
        to_find=to_find,
        for_same=for_same,
    )


def _interval(test: _Test, ours: Samples, theirs: Samples, ratio: float, rule: Rule) -> Interval:
    random = generator("interval", test.base.cell, test.base.metric)
    return widened(ratio_interval(ours, theirs, rule.confidence, random), ratio, math.sqrt(test.factor))


def _too_few(why: str, test: _Test, noise: float | None, to_find: int | None, for_same: int | None, rule: Rule) -> str:
    """The whole reason: what is not shown, with how many rounds, and how many it takes."""
    if not (test.base.rounds and test.other.rounds):
        return "the rounds are not in the file, only a summary of them"
    taken = f"{len(test.base.rounds)} and {len(test.other.rounds)} rounds: {why}"
    if test.factor > 1.0:
        return f"{taken}; the machine is unsteady, so steady it or compare more runs: more rounds alone tell little"
    seen = f"noise of {_ASSUMED_NOISE:.0%} (none is seen yet)" if noise is None else f"the noise of {noise:.1%}"
    find = "no number of rounds finds" if to_find is None else f"{to_find} rounds a side find"
    same = "no number shows" if for_same is None else f"{for_same} show"
    return f"{taken}; at {seen} {find} a change of {rule.change:.0%}, and {same} that it is within {rule.margin:.0%}"
