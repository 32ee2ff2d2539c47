"""The normal distribution and Student's t, against those of scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from plimsoll.statistics.distributions import normal_below, normal_quantiles, student_above, student_quantile
from plimsoll.statistics.robust import freedom_of

FREEDOM = (1, 2, 3, 4, 5, 7, 10, 20, 37, 60, 117, 237, 1000)
"""Up to more than two sides of 120 blocks leave."""
EVERYWHERE = np.concatenate([np.linspace(-9.0, 9.0, 1801), np.logspace(-6.0, 2.0, 801)])


def test_the_normal_distribution_is_scipys() -> None:
    values = np.linspace(-37.0, 37.0, 5001).reshape(3, -1)
    assert normal_below(values) == pytest.approx(special.ndtr(values), rel=1e-12, abs=0.0)
    assert normal_below(0.0) == 0.5
    assert normal_below([-math.inf, math.inf]).tolist() == [0.0, 1.0]


def test_quantiles_of_the_normal_distribution_are_scipys() -> None:
    chances = np.concatenate([(np.arange(2000) + 0.5) / 2000, np.logspace(-300.0, -1.0, 300)])
    assert normal_quantiles(chances) == pytest.approx(special.ndtri(chances), rel=1e-12, abs=1e-15)


def test_students_t_with_one_degree_of_freedom_is_cauchys() -> None:
    """Of which scipy has eleven digits, near its middle."""
    expected = np.arctan2(1.0, EVERYWHERE) / np.pi
    assert student_above(EVERYWHERE, 1) == pytest.approx(expected, rel=1e-14, abs=0.0)


@pytest.mark.parametrize("freedom", FREEDOM[1:])
def test_students_t_is_scipys_down_to_the_smallest_chances(freedom: int) -> None:
    expected = special.stdtr(freedom, -EVERYWHERE)
    counts = expected > 1e-250  # below, scipy's own digits are lost
    assert counts.sum() > 1000
    assert student_above(EVERYWHERE, freedom)[counts] == pytest.approx(expected[counts], rel=2e-12, abs=0.0)


def test_the_shape_stays_and_the_ends_are_certain() -> None:
    assert student_above(np.ones((2, 3)), 5).shape == (2, 3)
    assert student_above([-math.inf, 0.0, math.inf], 5).tolist() == [1.0, 0.5, 0.0]
    assert math.isnan(float(student_above(math.nan, 5)))


@pytest.mark.parametrize("freedom", FREEDOM)
@pytest.mark.parametrize("above", [0.25, 0.1, 0.025, 1e-3, 1e-5, 1e-9, 1e-17, 1e-40])
def test_quantiles_of_students_t_are_scipys(above: float, freedom: int) -> None:
    assert student_quantile(above, freedom) == pytest.approx(-float(special.stdtrit(freedom, above)), rel=1e-11, abs=0)


@pytest.mark.parametrize("freedom", [1.0, 1.003, 1.9, 3.5, 8.8, 11.97, 12.0])
def test_degrees_of_freedom_are_told_by_the_tail_that_they_give(freedom: float) -> None:
    ratio = special.stdtrit(freedom, 0.975) / special.stdtrit(freedom, 0.75)
    assert freedom_of(float(ratio), 1.0, 12.0) == pytest.approx(freedom, rel=1e-3)


def test_degrees_of_freedom_stay_between_the_bounds() -> None:
    assert freedom_of(100.0, 1.0, 12.0) == 1.0
    assert freedom_of(2.5, 1.0, 12.0) == 12.0
