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
from scipy import stats

from plimsoll.compare.judging import judge
from plimsoll.compare.rounds import rounds_for_same, rounds_to_find
from plimsoll.compare.rule import MOST_ROUNDS, Change, Rule, decide
from plimsoll.statistics.correction import holm
from plimsoll.statistics.interval import Interval
from plimsoll.statistics.rank_tests import average_ranks, cliffs_delta, exact_p, log_noise, pair_quantiles, smallest_p
from plimsoll.statistics.together import _GRID, evidence, reach
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
    assert float(exact_p(base, other)) == pytest.approx(enumerated_p(base, other))


@pytest.mark.parametrize(
    ("base", "other"),
    [((1, 1, 1, 1, 1), (2, 2, 2, 2, 2)), ((1, 1, 2, 2, 3), (2, 3, 3, 4, 4)), ((1, 1, 1, 1, 2), (1, 1, 1, 2, 2))],
)
def test_ties_are_counted_and_not_approximated(base: tuple[float, ...], other: tuple[float, ...]) -> None:
    p = float(exact_p(array(*base), array(*other)))
    assert p == pytest.approx(enumerated_p(array(*base), array(*other)))
    assert p >= smallest_p(5, 5) - 1e-12


@pytest.mark.parametrize("digits", [9, 1, 0], ids=["no ties", "some", "many"])
@pytest.mark.parametrize(("few", "many"), [(1, 9), (5, 6), (7, 7), (30, 30), (90, 110)])
def test_the_rank_test_is_scipys(few: int, many: int, digits: int) -> None:
    random = np.random.default_rng(few)
    base = np.round(random.normal(size=(4, few)), digits)
    other = np.round(random.normal(size=(4, many)) + 0.5, digits)
    both = np.concatenate([base, other], axis=-1)
    assert average_ranks(both) == pytest.approx(stats.rankdata(both, axis=-1))
    counted = few < 90
    if not counted or digits == 9:
        method = "exact" if counted else "asymptotic"
        assert exact_p(base, other) == pytest.approx(stats.mannwhitneyu(base, other, axis=-1, method=method).pvalue)


def test_rounds_that_are_all_the_same_do_not_differ() -> None:
    assert float(exact_p(array(1, 1, 1, 1, 1), array(1, 1, 1, 1, 1))) == 1.0


def test_many_tests_at_once_are_the_same_as_one_by_one() -> None:
    base = np.array([noisy(i, 7) for i in range(4)])
    other = np.array([noisy(i + 50, 7) for i in range(4)])
    base[2] = np.round(base[2], 1)
    together = exact_p(base, other)
    assert together[[0, 1, 3]] == pytest.approx([float(exact_p(base[i], other[i])) for i in (0, 1, 3)])


def test_the_smallest_p_value_is_that_of_sides_without_overlap() -> None:
    for n in (1, 3, 5, 8):
        base, other = np.arange(n, dtype=np.float64), np.arange(n, 2.0 * n)
        assert float(exact_p(base, other)) == pytest.approx(smallest_p(n, n))
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
        (1.10, 1.06, 1.15, 0.001, Change.SLOWER),
        (0.90, 0.85, 0.94, 0.001, Change.FASTER),
        (1.10, 1.06, 1.15, 0.06, Change.TOO_FEW),
        (1.10, 0.99, 1.20, 0.001, Change.TOO_FEW),
        (1.04, 1.01, 1.07, 0.001, Change.TOO_FEW),
        (1.01, 1.005, 1.015, 0.001, Change.SAME),
        (1.00, 0.96, 1.04, 0.9, Change.SAME),
        (1.00, 0.90, 1.10, 0.9, Change.TOO_FEW),
        (1.00, 0.90, 1.10, None, Change.TOO_FEW),
        (2.00, 1.90, 2.10, None, Change.TOO_FEW),
        (1.00, 0.951, 1.04, 0.9, Change.TOO_FEW),
    ],
)
def test_a_word_needs_its_evidence(ratio: float, low: float, high: float, p: float | None, word: Change) -> None:
    found, why = decide(ratio, Interval(low=low, high=high), p, RULE)
    assert found is word
    assert bool(why) is (word is Change.TOO_FEW)


def test_without_an_interval_no_word_is_possible() -> None:
    assert decide(2.0, None, 0.0001, RULE)[0] is Change.TOO_FEW


def test_more_noise_and_smaller_changes_take_more_rounds() -> None:
    def to_find(noise: float, tests: int, rule: Rule = RULE) -> int:
        rounds = rounds_to_find(noise, tests, rule)
        assert rounds is not None
        return rounds

    assert to_find(0.05, 1) < to_find(0.10, 1)
    assert to_find(0.05, 10) < to_find(0.10, 10)
    assert to_find(0.05, 10) < to_find(0.05, 10, Rule(change=0.08))
    assert to_find(0.05, 10, Rule(change=1.0)) < to_find(0.02, 10)
    assert rounds_to_find(0.5, 44, Rule(change=0.06)) is None


def test_one_time_alone_takes_as_many_rounds_as_could_show_that_a_clock_jumps() -> None:
    rule = Rule()
    rounds = rounds_to_find(0.001, 1, rule)
    assert rounds is not None
    assert 2 * (rounds - 1) >= rule.rounds_seen
    # A change beyond what a clock does needs no such proof.
    assert rounds_to_find(0.001, 1, Rule(change=1.0)) == rule.fewest_rounds


def test_rounds_for_same_grow_with_the_noise_and_shrink_with_the_margin() -> None:
    counts = [rounds_for_same(noise, 10, RULE) for noise in (0.0, 0.02, 0.05, 0.10, 1.0)]
    assert counts[0] == RULE.fewest_rounds
    assert counts[-1] is None
    found = [count for count in counts if count is not None]
    assert found == sorted(set(found))
    wide = rounds_for_same(0.05, 10, Rule(margin=0.10))
    assert wide is not None
    assert wide < found[2] <= MOST_ROUNDS


def test_ties_of_many_times_are_not_floored_by_a_number_of_permutations() -> None:
    base, other = np.repeat([1.0, 2.0], [12, 3]), np.repeat([2.0, 3.0], [3, 12])
    # 3 of the 5 values that are 2 fall to either side in C(6, 3) ways, of C(30, 15) deals.
    assert float(exact_p(base, other)) == pytest.approx(2 * math.comb(6, 3) / math.comb(30, 15))


def test_few_rounds_against_very_many_are_exact() -> None:
    for count in (61, 300):
        base, other = np.arange(5.0), np.arange(5.0, 5.0 + count)
        assert float(exact_p(base, other)) == pytest.approx(smallest_p(5, count), rel=1e-6)
        tied = np.repeat(7.0, count)
        # No other deal lies as far on the other side of the middle.
        assert float(exact_p(base, tied)) == pytest.approx(smallest_p(5, count) / 2, rel=1e-6)


def test_the_ratio_of_all_pairs_is_that_of_hodges_and_lehmann() -> None:
    base, other = array(0.0, 1.0, 5.0), array(2.0, 4.0, 9.0)
    middle, low, high = pair_quantiles(base, other, np.asarray(1 / 9))
    assert sorted((other[:, None] - base).ravel()) == [-3, -1, 1, 2, 3, 4, 4, 8, 9]
    assert (float(middle), float(low), float(high)) == (3.0, -3.0, 9.0)


def test_a_hundred_thousand_rounds_are_judged_without_filling_the_memory() -> None:
    random = np.random.default_rng(1)
    # A timer of whole nanoseconds gives ties without end.
    base, other = (np.log(np.round(1000 * np.exp(0.1 * random.standard_normal((1, 100_000))))) for _ in range(2))
    rising = base + np.linspace(0.0, 0.1, base.size)
    tracemalloc.start()
    (same,), steady = judge([(base, other)], RULE)
    (slower,), _ = judge([(base, other + math.log(1.1))], RULE)
    (drifting,), wandering = judge([(rising, other)], RULE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert same.low[0] <= 0.0 <= same.high[0]
    assert same.high[0] - same.low[0] < 0.02
    assert slower.p[0] < 1e-9
    assert slower.ratio[0] == pytest.approx(math.log(1.1), abs=0.01)
    assert not steady.is_shown
    assert wandering.is_shown
    assert drifting.high[0] - drifting.low[0] > 5 * (same.high[0] - same.low[0])
    assert peak < 100 * 2**20


def test_many_rounds_that_are_all_the_same_do_not_differ() -> None:
    assert float(exact_p(np.ones(100), np.ones(100))) == 1.0


@pytest.mark.parametrize("freedom", [1, 3, 37, 117])
@pytest.mark.parametrize("level", [0.05, 1e-4])
def test_a_mixture_lies_beyond_its_reach_with_the_chance_asked_for(freedom: int, level: float) -> None:
    """Also where one scale is a hundred times the other, and where all are the same."""
    random = np.random.default_rng(freedom)
    weight = random.dirichlet(np.full(25, 0.3), size=50)
    scale = np.exp(random.normal(0.0, 1.5, size=(50, 25)))
    scale[0] = 2.0
    found = reach(weight, scale, freedom, level)
    beyond = 2.0 * (weight * stats.t.sf(found[:, None] / scale, freedom)).sum(axis=-1)
    assert beyond == pytest.approx(np.full(50, level), rel=1e-4)
    assert found[0] == pytest.approx(2.0 * stats.t.isf(level / 2.0, freedom))


@pytest.mark.parametrize(("first", "second"), [(3, 7), (12, 12)])
def test_what_rounds_say_is_what_generalised_least_squares_gives(first: int, second: int) -> None:
    """At each strength and length of memory: by least squares over rounds that were made independent."""
    x = np.random.default_rng(3).normal(size=first + second)
    place = np.array([*range(first), *range(second)], dtype=float)
    side = np.arange(first + second) >= first
    model = np.column_stack([~side, side, place - place.mean()])
    told = evidence(x[None, :first], x[None, first:])
    for number, (share, memory) in enumerate(_GRID):
        correlation = np.where(side[:, None] == side, share * memory ** np.abs(place[:, None] - place), 0.0)
        np.fill_diagonal(correlation, 1.0)
        white = np.linalg.inv(np.linalg.cholesky(correlation))
        found, (squares,), *_ = np.linalg.lstsq(white @ model, white @ x, rcond=None)
        covariance = np.linalg.inv(model.T @ np.linalg.inv(correlation) @ model)
        contrast = np.array([-1.0, 1.0, 0.0])
        error = math.sqrt(contrast @ covariance @ contrast * squares / told.freedom)
        assert told.difference[0, number] == pytest.approx(contrast @ found)
        assert told.deviation[0, number] == pytest.approx(error)
