"""Compares: pairs the sides, tests every time, corrects for all of the tests together, and gives each its word."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plimsoll.compare import steadiness
from plimsoll.compare.gpus import aligned
from plimsoll.compare.judging import Together, judge
from plimsoll.compare.machine import differences, unlike
from plimsoll.compare.pairing import absent, figure_rows, numerics_changes, outcome_changes, shared_times
from plimsoll.compare.result import Comparison, Mismatch, TimeRow, Versus
from plimsoll.compare.rounds import ASSUMED_NOISE, rounds_for_same, rounds_to_find
from plimsoll.compare.rule import MOST_ROUNDS, Change, Rule, decide
from plimsoll.compare.side import Side, Timed
from plimsoll.errors import PlimsollError
from plimsoll.statistics.correction import holm
from plimsoll.statistics.interval import Interval
from plimsoll.statistics.rank_tests import Samples, cliffs_delta, log_noise
from plimsoll.userpath import resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class _PairStatistics:
    """The statistics of a pair of times, before the correction for the number of times."""

    ratio: float
    interval: Interval
    p: float
    needed: float
    """The size, as a logarithm, from which a difference may be called one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """A pair of times on its way through the correction."""

    base: Timed
    other: Timed
    found: _PairStatistics | None
    """None where a side has too few rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairing:
    """The times of one side and the base, tested and not yet corrected."""

    other: Side
    tests: list[_Test]
    mismatched: list[Mismatch]
    within: float
    """How many times larger the variance is, because rounds go together, than independent rounds would show."""
    between: float
    """The same of like runs."""
    steadiness: tuple[str, ...]


def compare(sides: Sequence[Side], rule: Rule, *, likes: Sequence[Side] = (), force_unlike: bool = False) -> Comparison:
    """Hold every further side against the first.

    `likes` are more runs of the first one's configuration: how much they differ is what any difference must exceed.
    Raises PlimsollError for fewer than two sides, for one given twice, and for unlike machines unless `force_unlike`
    is given.
    """
    base, *others = sides
    _refuse_repeats([*sides, *likes])
    others, likes = [aligned(base, side) for side in others], [aligned(base, side) for side in likes]
    if not force_unlike:
        _refuse_unlike(base, [*others, *likes])
    between = steadiness.between([(side.name, _rounds(side)) for side in (base, *likes)])
    pairings = [_pair(base, other, between, rule) for other in others]
    everything = [test for pairing in pairings for test in pairing.tests]
    adjusted = _adjusted(everything)
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


def _adjusted(tests: Sequence[_Test]) -> list[float | None]:
    """The p-values, corrected for all tests together; None where there was no test."""
    corrected = iter(holm([test.found.p for test in tests if test.found is not None]))
    return [None if test.found is None else next(corrected) for test in tests]


def _refuse_repeats(sides: Sequence[Side]) -> None:
    if len(sides) < 2:
        raise PlimsollError("a comparison needs two runs or more; give a base and what to hold against it")
    seen: set[object] = set()
    for side in sides:
        if resolved(side.path) in seen:
            raise PlimsollError(f"{side.name} is given twice: a run compared with itself is always the same")
        seen.add(resolved(side.path))


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
    found, together = _judged(pairs, between.factor, rule)
    text = "" if together is None else _within_text(base, other, together)
    return _Pairing(
        other=other,
        tests=[_Test(base=ours, other=theirs, found=found.get(i)) for i, (ours, theirs) in enumerate(pairs)],
        mismatched=mismatched,
        within=float(together.factor) if together is not None and text else 1.0,
        between=between.factor,
        steadiness=tuple(line for line in (text, between.text) if line),
    )


def _judged(
    pairs: Sequence[tuple[Timed, Timed]], between: float, rule: Rule
) -> tuple[dict[int, _PairStatistics], Together | None]:
    """By place, what each pair with enough rounds comes to; pairs with the same numbers of rounds are judged as one."""
    places: dict[tuple[int, int], list[int]] = {}
    # In one order, whatever that of the files is: sums of the same numbers in another order differ in their last digit.
    for i, (ours, theirs) in sorted(enumerate(pairs), key=lambda entry: (entry[1][0].cell, entry[1][0].metric)):
        if min(len(ours.rounds), len(theirs.rounds)) >= rule.fewest_rounds:
            places.setdefault((len(ours.rounds), len(theirs.rounds)), []).append(i)
    if not places:
        return {}, None
    groups = [(_logs([pairs[i][0] for i in group]), _logs([pairs[i][1] for i in group])) for group in places.values()]
    judged, together = judge(groups, rule, between=between)
    found = {}
    for group, one in zip(places.values(), judged, strict=True):
        for k, i in enumerate(group):
            ratio, low, high = (math.exp(float(value[k])) for value in (one.ratio, one.low, one.high))
            found[i] = _PairStatistics(
                ratio=ratio, interval=Interval(low=low, high=high), p=float(one.p[k]), needed=float(one.needed[k])
            )
    return found, together


def _logs(times: Sequence[Timed]) -> Samples:
    return np.log(np.stack([_samples(timed) for timed in times]))


def _within_text(base: Side, other: Side, together: Together) -> str:
    """What is said where rounds go together beyond doubt; empty where they may not."""
    if not together.is_shown:
        return ""
    return (
        f"rounds go together within {base.name} or {other.name}: differences are judged as if there were "
        f"1/{float(together.factor):.1f} of the rounds"
    )


def _samples(timed: Timed) -> Samples:
    """The rounds as times, so that more is always slower: a rate becomes the time of one unit."""
    values = np.asarray(timed.rounds, dtype=np.float64)
    return 1.0 / values if timed.higher_is_better else values


def _versus(base: Side, pairing: _Pairing, adjusted: Sequence[float | None], tests: int, rule: Rule) -> Versus:
    other = pairing.other
    times = tuple(_row(test, p, pairing, tests, rule) for test, p in zip(pairing.tests, adjusted, strict=True))
    memory, speeds, figures = figure_rows(base, other, rule)
    logs = [math.log(row.ratio) for row in times]
    return Versus(
        base=base,
        other=other,
        unlike=unlike(base.machine, base.name, other.machine, other.name),
        times=times,
        memory=tuple(memory),
        speeds=tuple(speeds),
        figures=tuple(figures),
        missing=tuple(absent(base, other)),
        added=tuple(absent(other, base)),
        mismatched=tuple(pairing.mismatched),
        outcomes=tuple(outcome_changes(base, other)),
        numerics=tuple(numerics_changes(base, other)),
        overall=math.exp(statistics.fmean(logs)) if logs else None,
        steadiness=pairing.steadiness,
        variance_factor=max(pairing.within, pairing.between),
    )


def _row(test: _Test, p_adjusted: float | None, pairing: _Pairing, tests: int, rule: Rule) -> TimeRow:
    base, other, found = test.base, test.other, test.found
    ours, theirs = _samples(base), _samples(other)
    if found is None:
        ratio = base.median / other.median if base.higher_is_better else other.median / base.median
        word, why = decide(ratio, None, None, rule)
        noise = None
    else:
        ratio = found.ratio
        word, why = decide(ratio, found.interval, p_adjusted, rule, found.needed)
        noise = log_noise(ours, theirs)
    to_find, for_same = _enough(noise, pairing, tests, rule)
    return TimeRow(
        base=base,
        other=other,
        ratio=ratio,
        interval=None if found is None else found.interval,
        p=None if found is None else found.p,
        p_adjusted=p_adjusted,
        delta=cliffs_delta(ours, theirs) if min(ours.size, theirs.size) else None,
        noise=noise,
        word=word,
        why=why if word is not Change.TOO_FEW else _too_few(why, test, noise, to_find, for_same, rule, pairing),
        to_find=to_find,
        for_same=for_same,
    )


def _enough(noise: float | None, pairing: _Pairing, tests: int, rule: Rule) -> tuple[int | None, int | None]:
    """The rounds a side that find the change of the rule, and those that show that there is none."""
    # More rounds say nothing more of a machine that is another one in the next run.
    if pairing.between > pairing.within:
        return None, None
    assumed = ASSUMED_NOISE if noise is None else round(noise, 3)
    counts = rounds_to_find(assumed, tests, rule), rounds_for_same(assumed, tests, rule)
    found, same = (None if count is None else math.ceil(count * pairing.within) for count in counts)
    return found if (found or 0) <= MOST_ROUNDS else None, same if (same or 0) <= MOST_ROUNDS else None


def _too_few(
    why: str,
    test: _Test,
    noise: float | None,
    to_find: int | None,
    for_same: int | None,
    rule: Rule,
    pairing: _Pairing,
) -> str:
    """The whole reason: what is not shown, with how many rounds, and how many it takes."""
    if not (test.base.rounds and test.other.rounds):
        return "the rounds are not in the file, only a summary of them"
    taken = f"{len(test.base.rounds)} and {len(test.other.rounds)} rounds: {why}"
    if pairing.between > pairing.within:
        return f"{taken}; the machine is unsteady, so steady it or compare more runs: more rounds alone tell little"
    seen = f"noise of {ASSUMED_NOISE:.0%} (none is seen yet)" if noise is None else f"the noise of {noise:.1%}"
    if pairing.within > 1.0:
        seen += " and rounds that go together"
    find = "no number of rounds finds" if to_find is None else f"{to_find} rounds a side find"
    same = "no number shows" if for_same is None else f"{for_same} show"
    return f"{taken}; at {seen} {find} a change of {rule.change:.0%}, and {same} that it is within {rule.margin:.0%}"
