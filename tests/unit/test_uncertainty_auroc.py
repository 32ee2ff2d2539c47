"""AUROC, its interval and its tests: against scipy, against brute force, against simulation, and against faults that
are planted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from plimsoll.statistics.auroc import (
    FEWEST,
    RESAMPLES,
    Auroc,
    Flags,
    Numbers,
    auroc,
    measure_auroc,
    newcombe_interval,
    resampled_aurocs,
    resampled_counts,
)
from plimsoll.statistics.difference import (
    delong_test,
    mcnemar,
    paired_bootstrap,
    paired_means,
    unpaired_test,
)
from plimsoll.statistics.interval import Interval
from plimsoll.statistics.seeded import generator

SCORES = st.lists(st.integers(0, 9), min_size=4, max_size=30)


def labelled(values: list[int], data: st.DataObject) -> tuple[Numbers, Flags]:
    """Scores with ties, and labels of which both kinds are there."""
    flags = data.draw(arrays(bool, len(values)))
    flags[:2], flags[-2:] = True, False
    return np.asarray(values, dtype=np.float64), flags


def by_pairs(scores: Numbers, positive: Flags) -> float:
    """The definition: every pair of a positive and another, ties half."""
    ones, zeros = scores[positive][:, None], scores[~positive][None, :]
    return float(((ones > zeros) + 0.5 * (ones == zeros)).mean())


def normal(seed: int, ones: int, zeros: int, shift: float) -> tuple[Numbers, Flags]:
    random = np.random.default_rng(seed)
    scores = np.r_[random.standard_normal(ones) + shift, random.standard_normal(zeros)]
    return scores, np.r_[np.ones(ones, bool), np.zeros(zeros, bool)]


@given(SCORES, st.data())
def test_it_is_the_share_of_pairs_and_scipys_statistic(values: list[int], data: st.DataObject) -> None:
    scores, positive = labelled(values, data)
    found = auroc(scores, positive)
    assert found == pytest.approx(by_pairs(scores, positive))
    u = stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
    assert found == pytest.approx(u / (positive.sum() * (~positive).sum()))


@given(SCORES, st.data())
def test_a_negated_score_and_swapped_labels_mirror_it(values: list[int], data: st.DataObject) -> None:
    scores, positive = labelled(values, data)
    assert auroc(-scores, positive) == pytest.approx(1.0 - auroc(scores, positive))
    assert auroc(scores, ~positive) == pytest.approx(1.0 - auroc(scores, positive))


@given(SCORES, st.data())
def test_only_the_order_of_scores_counts(values: list[int], data: st.DataObject) -> None:
    scores, positive = labelled(values, data)
    assert auroc(np.exp(scores), positive) == auroc(scores, positive)


def test_a_perfect_score_a_useless_one_and_infinity() -> None:
    positive = np.array([True, True, False, False])
    assert auroc(np.array([3.0, 4.0, 1.0, 2.0]), positive) == 1.0
    assert auroc(np.ones(4), positive) == 0.5
    assert auroc(np.array([math.inf, 4.0, 1.0, 2.0]), positive) == 1.0


def test_what_has_no_auroc_raises() -> None:
    with pytest.raises(ValueError, match="not a number"):
        auroc(np.array([1.0, math.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="both kinds"):
        auroc(np.array([1.0, 2.0]), np.array([True, True]))


def test_shuffled_labels_come_near_chance() -> None:
    scores, positive = normal(1, 200, 200, 1.5)
    assert auroc(scores, positive) > 0.8
    shuffled = np.random.default_rng(2).permutation(positive)
    found = measure_auroc(scores.tolist(), shuffled.tolist(), 400)
    assert found.interval is not None
    assert found.value == pytest.approx(0.5, abs=0.06)
    assert found.interval.low < 0.5 < found.interval.high


def guarded(scores: Sequence[float | None], positive: Sequence[bool], expected: int | None = None) -> Auroc:
    return measure_auroc(scores, positive, len(scores) if expected is None else expected)


def test_a_dropped_row_leaves_it_unset() -> None:
    scores, positive = normal(1, 20, 20, 1.0)
    whole = guarded(scores.tolist(), positive.tolist())
    assert whole.value is not None
    dropped = guarded(scores.tolist()[1:], positive.tolist()[1:], 40)
    assert (dropped.value, dropped.interval, dropped.reason) == (None, None, "39 of 40 answers are there")
    twice = guarded([*scores.tolist(), 1.0], [*positive.tolist(), True], 40)
    assert (twice.value, twice.reason) == (None, "41 of 40 answers are there")


@pytest.mark.parametrize("hole", [None, math.nan])
def test_a_row_without_a_score_leaves_it_unset(hole: float | None) -> None:
    scores, positive = normal(1, 20, 20, 1.0)
    found = guarded([hole, *scores.tolist()[1:]], positive.tolist())
    assert (found.value, found.reason) == (None, "1 of 40 answers have no score")


def test_too_few_answers_and_one_kind_alone_leave_it_unset() -> None:
    scores = [float(i) for i in range(FEWEST)]
    few = guarded(scores[1:], [i % 2 == 0 for i in range(FEWEST - 1)])
    assert (few.value, few.reason) == (None, "19 answers, and 20 are the least")
    assert guarded(scores, [i % 2 == 0 for i in range(FEWEST)]).value is not None
    alone = guarded(scores, [True] * FEWEST)
    assert (alone.value, alone.reason) == (None, "0 answers of the rarer kind, and 5 are the least")
    assert guarded(scores, [i < 4 for i in range(FEWEST)]).reason == "4 answers of the rarer kind, and 5 are the least"
    assert guarded(scores, [i < 5 for i in range(FEWEST)]).value == 0.0


def test_scores_and_labels_that_do_not_match_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="3 scores for 2 labels"):
        guarded([1.0, 2.0, 3.0], [True, False])


@given(SCORES, st.data())
def test_a_resample_is_the_auroc_of_the_answers_that_it_drew(values: list[int], data: st.DataObject) -> None:
    scores, positive = labelled(values, data)
    strata = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    counts = resampled_counts(strata, scores.size, np.random.default_rng(0))[:5]
    assert (counts[:, positive].sum(axis=1) == positive.sum()).all()
    expected = [auroc(np.repeat(scores, row), np.repeat(positive, row)) for row in counts]
    assert resampled_aurocs(scores, positive, counts) == pytest.approx(expected)


def test_long_runs_are_resampled_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, positive = normal(3, 30, 30, 0.5)
    counts = resampled_counts([np.flatnonzero(positive), np.flatnonzero(~positive)], 60, np.random.default_rng(0))
    whole = resampled_aurocs(scores, positive, counts)
    monkeypatch.setattr("plimsoll.statistics.auroc._CHUNK", 500)
    assert resampled_aurocs(scores, positive, counts) == pytest.approx(whole)
    assert len(whole) == RESAMPLES


def interval_of(scores: Numbers, positive: Flags) -> Interval:
    interval = measure_auroc(scores.tolist(), positive.tolist(), scores.size).interval
    assert interval is not None
    return interval


def test_a_constant_score_is_at_chance_and_not_certain_to_be() -> None:
    positive = np.arange(40) < 5
    interval = interval_of(np.ones(40), positive)
    assert interval.low < 0.3
    assert interval.high > 0.7
    halves = interval_of(np.ones(400), np.arange(400) < 200)
    assert 0.44 < halves.low < 0.47
    assert halves.high == pytest.approx(1.0 - halves.low)


def test_a_perfect_separation_is_not_certain() -> None:
    scores, positive = normal(0, 10, 10, 100.0)
    interval = interval_of(scores, positive)
    assert interval.high == 1.0
    assert 0.7 < interval.low < 0.95
    more = interval_of(*normal(0, 100, 100, 100.0))
    assert interval.low < more.low < 1.0
    worst = interval_of(-scores, positive)
    assert worst.low == 0.0
    assert worst.high == pytest.approx(1.0 - interval.low)


def test_one_answer_out_of_order_does_not_make_it_surer_than_none() -> None:
    scores, positive = normal(0, 15, 15, 100.0)
    perfect = interval_of(scores, positive)
    scores[0] = scores[-1] - 0.5
    nearly = interval_of(scores, positive)
    assert auroc(scores, positive) > 0.9
    assert nearly.low < perfect.low
    assert nearly.high <= perfect.high


def test_newcombes_interval_holds_its_own_definition_and_the_truth() -> None:
    interval = newcombe_interval(0.8, 30, 40)
    for true in (interval.low, interval.high):
        extra = 34.0
        variance = true * (1 - true) * (1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true)) / 1200
        assert abs(0.8 - true) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)
    true = float(stats.norm.cdf(2.5 / math.sqrt(2.0)))
    covered = 0
    for seed in range(300):
        found = newcombe_interval(auroc(*normal(seed, 15, 15, 2.5)), 15, 15)
        covered += found.low <= true <= found.high
    assert covered / 300 >= 0.92


def delong_by_pairs(scores: Numbers, positive: Flags) -> Numbers:
    """DeLong's definition, with every pair."""
    ones, zeros = scores[:, positive, None], scores[:, None, ~positive]
    won = (ones > zeros) + 0.5 * (ones == zeros)
    return np.asarray(np.cov(won.mean(axis=2)) / positive.sum() + np.cov(won.mean(axis=1)) / (~positive).sum())


def by_t(value: float, variance: float, positive: Flags) -> tuple[float, Interval]:
    """The p-value and the interval of a difference, by Student's t with the degrees of freedom of the rarer kind."""
    student = stats.t(min(int(positive.sum()), int((~positive).sum())) - 1)
    reach = float(student.ppf(0.975)) * math.sqrt(variance)
    interval = Interval(low=max(-1.0, value - reach), high=min(1.0, value + reach))
    return 2.0 * float(student.sf(abs(value) / math.sqrt(variance))), interval


@given(SCORES, st.data())
def test_delongs_variances_are_those_of_all_pairs(values: list[int], data: st.DataObject) -> None:
    first, positive = labelled(values, data)
    second = np.asarray(data.draw(st.lists(st.integers(0, 9), min_size=len(values), max_size=len(values))), float)
    (own, shared), (_, other) = delong_by_pairs(np.stack([first, second]), positive)
    assume(min(own, other, paired := own + other - 2.0 * shared) > 1e-9)
    for variance, found in (
        (paired, delong_test(first, second, positive)),
        (own + other, unpaired_test((first, positive), (second, positive))),
    ):
        p, interval = by_t(auroc(second, positive) - auroc(first, positive), variance, positive)
        assert found.p == pytest.approx(p, rel=1e-6, abs=1e-12)
        assert found.interval.low == pytest.approx(interval.low, abs=1e-9)
        assert found.interval.high == pytest.approx(interval.high, abs=1e-9)


def test_delongs_variance_needs_two_of_each_kind() -> None:
    scores, positive = np.ones(3), np.array([True, False, False])
    with pytest.raises(ValueError, match="two answers of each kind"):
        delong_test(scores, scores, positive)
    with pytest.raises(ValueError, match="two answers of each kind"):
        unpaired_test((scores, positive), (scores, positive))


def test_delongs_deviation_is_what_simulation_shows() -> None:
    sides = [normal(seed, 60, 90, 1.0) for seed in range(1600)]
    drawn = [unpaired_test(*pair) for pair in zip(sides[::2], sides[1::2], strict=True)]
    seen = np.std([one.value for one in drawn])
    reach = float(stats.t.ppf(0.975, 59))
    said = np.mean([(one.interval.high - one.interval.low) / 2.0 / reach for one in drawn])
    assert said == pytest.approx(seen, rel=0.08)


Two = Callable[[int, float], float]


def paired_scores(seed: int, effect: float) -> float:
    """p of two scores of the same answers, the second better by `effect`."""
    random = np.random.default_rng(seed)
    positive = np.r_[np.ones(60, bool), np.zeros(60, bool)]
    shared = random.standard_normal(120)
    first, second = (shared + random.standard_normal(120) + (1.0 + e) * positive for e in (0.0, effect))
    return delong_test(first, second, positive).p


def paired_models(seed: int, effect: float) -> float:
    """p of two models with labels of their own on shared questions."""
    random = np.random.default_rng(seed)
    hard = random.standard_normal(120)
    sides = []
    for e in (0.0, effect):
        wrong = hard + random.standard_normal(120) > 0
        sides.append((hard + random.standard_normal(120) + (0.5 + e) * wrong, wrong))
    return paired_bootstrap(sides[0], sides[1], generator("p", str(seed))).p


def unrelated(seed: int, effect: float) -> float:
    """p of answers to different questions."""
    return unpaired_test(normal(2 * seed, 50, 60, 1.0), normal(2 * seed + 1, 60, 50, 1.0 + effect)).p


@pytest.mark.parametrize("test", [paired_scores, paired_models, unrelated])
def test_a_test_of_two_aurocs_rarely_cries_wolf_and_finds_what_is_there(test: Two) -> None:
    false = np.mean([test(seed, 0.0) < 0.05 for seed in range(100)])
    found = np.mean([test(seed, 1.5) < 0.05 for seed in range(30)])
    assert false <= 0.11
    assert found >= 0.8


def test_the_same_scores_do_not_differ() -> None:
    scores, positive = normal(1, 30, 30, 1.0)
    for found in (
        delong_test(scores, np.exp(scores), positive),
        paired_bootstrap((scores, positive), (scores, positive), generator("x")),
    ):
        assert (found.value, found.p) == (0.0, 1.0)


def test_the_sign_is_the_second_minus_the_first() -> None:
    worse, positive = normal(1, 60, 60, 0.0)
    better, _ = normal(2, 60, 60, 2.0)
    for found in (
        delong_test(worse, better, positive),
        paired_bootstrap((worse, positive), (better, positive), generator("x")),
        unpaired_test((worse, positive), (better, positive)),
    ):
        assert found.value == pytest.approx(auroc(better, positive) - auroc(worse, positive))
        assert found.value > 0.2
        assert found.interval.low > 0.0
        assert found.p < 0.001
        assert found.interval.low < found.value < found.interval.high


def test_delong_and_the_bootstrap_agree_where_both_hold() -> None:
    first, positive = normal(5, 80, 80, 0.6)
    second = first + np.random.default_rng(6).standard_normal(160) + 0.8 * positive
    by_delong = delong_test(first, second, positive)
    by_bootstrap = paired_bootstrap((first, positive), (second, positive), generator("x"))
    assert by_bootstrap.value == pytest.approx(by_delong.value)
    assert by_bootstrap.interval.low == pytest.approx(by_delong.interval.low, abs=0.015)
    assert by_bootstrap.interval.high == pytest.approx(by_delong.interval.high, abs=0.015)


def test_mcnemar_counts_the_questions_that_the_two_answered_differently() -> None:
    # Agresti, Categorical Data Analysis: of 1600, 150 changed one way and 86 the other; z = 4.17.
    first = np.r_[np.ones(944, bool), np.zeros(656, bool)]
    second = np.r_[np.ones(794, bool), np.zeros(150, bool), np.ones(86, bool), np.zeros(570, bool)]
    found = mcnemar(first, second)
    assert found.value == pytest.approx((880 - 944) / 1600)
    assert found.p == pytest.approx(2 * stats.norm.sf(4.17), rel=0.5)
    assert found.interval.low == pytest.approx(-0.0587, abs=2e-4)
    assert found.interval.high == pytest.approx(-0.0213, abs=2e-4)
    same = mcnemar(first, first)
    assert (same.value, same.p) == (0.0, 1.0)


@pytest.mark.parametrize(("won", "lost"), [(0, 1), (3, 3), (2, 9), (86, 150), (0, 400)])
def test_mcnemars_p_is_that_of_scipys_binomial_test(won: int, lost: int) -> None:
    first = np.r_[np.ones(lost, bool), np.zeros(won, bool), np.ones(5, bool)]
    second = np.r_[np.zeros(lost, bool), np.ones(won, bool), np.ones(5, bool)]
    known = stats.binomtest(won, won + lost).pvalue
    assert mcnemar(first, second).p == mcnemar(second, first).p == pytest.approx(known, rel=1e-9, abs=0.0)


def test_paired_means_are_scipys_paired_t() -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal(50)
    second = first + 0.3 * random.standard_normal(50) + 0.1
    found = paired_means(first, second)
    known = stats.ttest_rel(second, first)
    assert found.p == pytest.approx(known.pvalue)
    assert found.interval.low == pytest.approx(known.confidence_interval().low)
    assert paired_means(first, first).p == 1.0


def test_a_resample_without_answers_of_both_kinds_is_drawn_again() -> None:
    # Each is wrong on two of twenty questions: every fifth resample or so would lack one of them.
    scores = np.random.default_rng(0).standard_normal(20)
    first, second = np.arange(20) < 2, np.arange(20) >= 18
    found = paired_bootstrap((scores, first), (scores, second), generator("x"))
    assert math.isfinite(found.p)
    assert -1.0 <= found.interval.low < found.interval.high <= 1.0


def test_labels_of_one_kind_alone_are_refused_and_not_resampled_for_ever() -> None:
    scores, positive = normal(0, 10, 10, 1.0)
    with pytest.raises(ValueError, match="both kinds"):
        paired_bootstrap((scores, positive), (scores, np.ones(20, dtype=bool)), generator("x"))


def test_one_answer_that_only_one_of_two_models_got_right_leaves_a_doubt() -> None:
    # All is perfectly separated but for one question, which the second got right though it was unsure.
    scores = np.r_[np.zeros(20), np.ones(20)] + np.linspace(0.0, 0.1, 40)
    first = np.arange(40) >= 20
    second = first.copy()
    second[-1] = False
    found = paired_bootstrap((scores, first), (scores, second), generator("x"))
    assert found.value == pytest.approx(-1 / 21)
    assert found.interval.low < -0.09
    assert found.interval.high > -0.01
    assert found.p > 0.05


def test_two_perfect_separations_are_not_surely_the_same() -> None:
    perfect = normal(0, 12, 12, 100.0)
    for found in (
        paired_bootstrap(perfect, perfect, generator("x")),
        delong_test(perfect[0], perfect[0], perfect[1]),
        unpaired_test(perfect, perfect),
    ):
        assert (found.value, found.p) == (0.0, 1.0)
        assert found.interval.low < -0.1
        assert found.interval.high > 0.1
