"""The statistics of a comparison, each against figures that were got another way."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plimsoll.compare.rounds import MOST, rounds_for_same, rounds_to_find
from plimsoll.compare.rule import Rule, Word, decide
from plimsoll.compare.steadiness import within
from plimsoll.statistics.correction import holm
from plimsoll.statistics.interval import Interval
from plimsoll.statistics.ranks import (
    _resampled_medians,
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
from tests.support.compare_runs import noisy

RULE = Rule(alpha=0.05)


def array(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def enumerated_p(base: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The two-sided p-value of the rank sum by looking at every way to deal the rounds to the sides."""
    pooled = np.concatenate([base, other])

    def distance(chosen: tuple[int, ...]) -> float:
        rest = [i for i in range(pooled.size) if i not in chosen]
        return abs(float(np.sign(pooled[rest][:, None] - pooled[list(chosen)][None, :]).sum()))

    deals = list(itertools.combinations(range(pooled.size), base.size))
    observed = distance(tuple(range(base.size)))
    return sum(distance(deal) >= observed - 1e-9 for deal in deals) / len(deals)


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_test_is_exact(seed: int) -> None:
    base, other = array(*noisy(seed, 5)), array(*noisy(seed + 100, 6, centre=1.05))
    assert float(rank_test(base, other, generator("x"))) == pytest.approx(enumerated_p(base, other))


@pytest.mark.parametrize(
    ("base", "other"),
    [((1, 1, 1, 1, 1), (2, 2, 2, 2, 2)), ((1, 1, 2, 2, 3), (2, 3, 3, 4, 4)), ((1, 1, 1, 1, 2), (1, 1, 1, 2, 2))],
)
def test_ties_are_tested_by_permutation_and_not_by_a_bolder_approximation(
    base: tuple[float, ...], other: tuple[float, ...]
) -> None:
    p = float(rank_test(array(*base), array(*other), generator("x")))
    assert p == pytest.approx(enumerated_p(array(*base), array(*other)), abs=0.02)
    assert p >= smallest_p(5, 5) - 1e-12


def test_rounds_that_are_all_the_same_do_not_differ() -> None:
    assert float(rank_test(array(1, 1, 1, 1, 1), array(1, 1, 1, 1, 1), generator("x"))) == 1.0


def test_many_tests_at_once_are_the_same_as_one_by_one() -> None:
    base = np.array([noisy(i, 7) for i in range(4)])
    other = np.array([noisy(i + 50, 7) for i in range(4)])
    base[2] = np.round(base[2], 1)
    together = rank_test(base, other, generator("x"))
    assert together[[0, 1, 3]] == pytest.approx(
        [float(rank_test(base[i], other[i], generator("x"))) for i in (0, 1, 3)]
    )


def test_the_smallest_p_value_is_that_of_sides_without_overlap() -> None:
    for n in (1, 3, 5, 8):
        base, other = np.arange(n, dtype=np.float64), np.arange(n, 2.0 * n)
        assert float(rank_test(base, other, generator("x"))) == pytest.approx(smallest_p(n, n))
    assert smallest_p(5000, 5000) == 0.0


def test_holm_is_holm() -> None:
    # The worked example of Holm (1979) and of every textbook since: 0.01, 0.04, 0.03, 0.005 of four tests.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_holm_never_makes_a_p_value_smaller_nor_changes_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_a_test_that_can_never_be_significant_does_not_make_the_others_stricter() -> None:
    # Two tests with ten rounds, forty-two with one: only the two are tests.
    able = within_reach([smallest_p(10, 10)] * 2 + [1.0] * 42, 0.05)
    assert able == [True] * 2 + [False] * 42
    assert within_reach([], 0.05) == []
    assert within_reach([1.0], 0.05) == [False]
    # Seven rounds reach 0.0006 at best: enough beside 44 tests, not beside 100.
    assert all(within_reach([smallest_p(7, 7)] * 44, 0.05))
    assert not any(within_reach([smallest_p(7, 7)] * 100, 0.05))


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    held = 0
    for i in range(300):
        base, other = np.exp(0.05 * random.standard_normal((2, 8)))
        interval = ratio_interval(base, 1.2 * other, 0.95, generator("coverage", str(i)))
        held += interval.low <= 1.2 <= interval.high
    assert 0.92 <= held / 300 <= 0.99


def test_widening_an_interval_keeps_its_ratio() -> None:
    interval = widened(Interval(low=1.0, high=1.21), 1.1, 2.0)
    assert interval.low == pytest.approx(1.1 / 1.21)
    assert interval.high == pytest.approx(1.1 * 1.21)


def test_deflating_a_p_value_takes_the_variance_for_larger() -> None:
    assert deflated(0.0001, 1.0) == 0.0001
    # z = 3.92 for the half of it, and 1.96 when the standard deviation is twice as large.
    assert deflated(0.0000885, 4.0) == pytest.approx(0.05, rel=0.01)


def test_cliffs_delta_is_all_or_nothing_without_overlap() -> None:
    assert cliffs_delta(array(1, 2), array(3, 4)) == 1.0
    assert cliffs_delta(array(3, 4), array(1, 2)) == -1.0
    assert cliffs_delta(array(1, 2), array(1, 2)) == 0.0
    assert cliffs_delta(array(1, 2, 3), array(2, 2, 4)) == pytest.approx(1 / 3)


def test_the_noise_is_that_of_the_rounds_and_an_outlier_does_not_move_it() -> None:
    base, other = (array(*noisy(seed, 400, noise=0.08)) for seed in (1, 2))
    assert log_noise(base, other) == pytest.approx(0.08, rel=0.1)
    base[:20] *= 10
    assert log_noise(base, other) == pytest.approx(0.08, rel=0.15)
    assert log_noise(array(1, 1, 1, 1, 2), array(1, 1, 1, 1, 2)) > 0
    assert log_noise(array(1, 1, 1, 1, 1), array(2, 2, 2, 2, 2)) == 0


@pytest.mark.parametrize(
    ("ratio", "low", "high", "p", "word"),
    [
        (1.10, 1.06, 1.15, 0.001, Word.SLOWER),
        (0.90, 0.85, 0.94, 0.001, Word.FASTER),
        (1.10, 1.06, 1.15, 0.06, Word.TOO_FEW),
        (1.10, 0.99, 1.20, 0.001, Word.TOO_FEW),
        (1.04, 1.01, 1.07, 0.001, Word.TOO_FEW),
        (1.01, 1.005, 1.015, 0.001, Word.SAME),
        (1.00, 0.96, 1.04, 0.9, Word.SAME),
        (1.00, 0.96, 1.04, None, Word.SAME),
        (1.00, 0.90, 1.10, 0.9, Word.TOO_FEW),
        (1.00, 0.90, 1.10, None, Word.TOO_FEW),
        (1.00, 0.951, 1.04, 0.9, Word.TOO_FEW),
    ],
)
def test_a_word_needs_its_evidence(ratio: float, low: float, high: float, p: float | None, word: Word) -> None:
    found, why = decide(ratio, Interval(low=low, high=high), p, RULE)
    assert found is word
    assert bool(why) is (word is Word.TOO_FEW)


def test_without_an_interval_no_word_is_possible() -> None:
    assert decide(2.0, None, 0.0001, RULE)[0] is Word.TOO_FEW


def test_more_noise_more_tests_and_smaller_changes_take_more_rounds() -> None:
    def to_find(noise: float, tests: int, rule: Rule = RULE) -> int:
        rounds = rounds_to_find(noise, tests, rule)
        assert rounds is not None
        return rounds

    assert to_find(0.05, 1) < to_find(0.10, 1)
    assert to_find(0.05, 1) < to_find(0.05, 44)
    assert to_find(0.05, 1) < to_find(0.05, 1, Rule(change=0.08))
    assert to_find(0.05, 44, Rule(alpha=0.05)) == 19
    assert rounds_to_find(0.0, 1, RULE) == RULE.fewest_rounds
    assert rounds_to_find(0.5, 44, Rule(change=0.06)) is None


def test_a_named_number_of_rounds_can_reach_significance_at_all() -> None:
    for tests in (1, 10, 44, 1000, 10**6):
        rounds = rounds_to_find(0.001, tests, RULE)
        assert rounds is not None
        assert smallest_p(rounds, rounds) <= RULE.alpha / tests


def test_rounds_for_same_grow_with_the_square_of_the_noise() -> None:
    assert rounds_for_same(0.05, RULE) == 51
    assert rounds_for_same(0.10, RULE) == pytest.approx(4 * 51, abs=4)
    assert rounds_for_same(1.0, RULE) is None
    assert rounds_for_same(0.0, RULE) == RULE.fewest_rounds
    wide = rounds_for_same(0.05, Rule(margin=0.10))
    assert wide is not None
    assert wide < 51
    assert math.isfinite(MOST)


@pytest.mark.parametrize("count", [5, 6, 9, 20])
def test_medians_of_resamples_are_distributed_as_if_resamples_had_been_drawn(count: int) -> None:
    side = array(*noisy(3, count, 0.3))
    drawn = np.median(generator("a").choice(side, (20000, count)), axis=-1)
    shortcut = np.concatenate([_resampled_medians(side, generator("b", str(i))) for i in range(4)])
    for quantile in (0.025, 0.25, 0.5, 0.75, 0.975):
        expected, found = np.quantile(drawn, quantile), np.quantile(shortcut, quantile)
        assert found == pytest.approx(expected, rel=0.02)
    assert shortcut.mean() == pytest.approx(drawn.mean(), rel=0.01)
    assert shortcut.std() == pytest.approx(drawn.std(), rel=0.06)


def test_a_hundred_thousand_rounds_are_compared_without_filling_the_memory() -> None:
    random = np.random.default_rng(1)
    # A timer of whole nanoseconds gives ties without end.
    base, other = (np.round(1000 * np.exp(0.1 * random.standard_normal(100_000))) for _ in range(2))
    tracemalloc.start()
    interval = ratio_interval(base, other, 0.95, generator("x"))
    p = float(rank_test(base, 1.1 * other, generator("x")))
    delta = cliffs_delta(base, 1.1 * other)
    steady = within(("a", {("c", "m"): base}), ("b", {("c", "m"): other}))
    rising = base * np.linspace(1.0, 1.1, base.size)
    wandering = within(("a", {("c", "m"): rising}), ("b", {("c", "m"): other}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert interval.low == pytest.approx(1.0, abs=0.01)
    assert p < 1e-9
    assert 0.4 < delta < 0.6
    assert steady.factor == 1.0
    assert wandering.factor > 10
    assert peak < 100 * 2**20


def test_many_rounds_that_are_all_the_same_do_not_differ() -> None:
    assert float(rank_test(np.ones(100), np.ones(100), generator("x"))) == 1.0
