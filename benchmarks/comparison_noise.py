"""How the times of two runs may be noisy: equal runs, as an honest comparison must not tell them apart, and runs that
differ though nothing was changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int, float], Times]
"""(random, metrics, rounds, coefficient of variation) -> the rounds of one run, a metric a row."""

_DRIFT: Final = 0.10
"""How much slower the last round is than the first, where rounds drift."""
_OUTLIERS: Final = 0.05
"""The share of rounds that something disturbs, which makes them twice as long on average."""
_SLOPE: Final = 0.05
_TOGETHER: Final = 0.5
_OFFSET: Final = 0.02


def log_normal(random: np.random.Generator, metrics: int, rounds: int, cv: float) -> Times:
    """Independent log-normal rounds."""
    return np.exp(log_sigma(cv) * random.standard_normal((metrics, rounds)))


def log_sigma(cv: float) -> float:
    """The standard deviation of the logarithms of log-normal times with this coefficient of variation."""
    return math.sqrt(math.log1p(cv * cv))


def drifting(random: np.random.Generator, metrics: int, rounds: int, cv: float) -> Times:
    """The same drift in every run: a machine that warms up."""
    return log_normal(random, metrics, rounds, cv) * (1.0 + _DRIFT * np.linspace(0.0, 1.0, rounds))


def with_outliers(random: np.random.Generator, metrics: int, rounds: int, cv: float) -> Times:
    """Some rounds are much longer: another process, a checkpoint of the disk."""
    times = log_normal(random, metrics, rounds, cv)
    hit = random.random(times.shape) < _OUTLIERS
    return times * np.where(hit, 1.0 + random.exponential(1.0, times.shape), 1.0)


def own_drift(random: np.random.Generator, metrics: int, rounds: int, cv: float) -> Times:
    """Each metric of each run drifts its own way, by 5 % (standard deviation) from first to last round."""
    slopes = _SLOPE * random.standard_normal((metrics, 1))
    return log_normal(random, metrics, rounds, cv) * (1.0 + slopes * np.linspace(0.0, 1.0, rounds))


def autocorrelated(random: np.random.Generator, metrics: int, rounds: int, cv: float) -> Times:
    """Each round goes along with the one before it, by a correlation of a half."""
    steps = random.standard_normal((metrics, rounds))
    for i in range(1, rounds):
        steps[:, i] = _TOGETHER * steps[:, i - 1] + math.sqrt(1.0 - _TOGETHER**2) * steps[:, i]
    return np.exp(log_sigma(cv) * steps)


def offset_metrics(random: np.random.Generator, metrics: int, rounds: int, cv: float) -> Times:
    """Each metric of a run lies higher or lower as a whole, by 2 % (standard deviation)."""
    return log_normal(random, metrics, rounds, cv) * np.exp(_OFFSET * random.standard_normal((metrics, 1)))


def offset_run(random: np.random.Generator, metrics: int, rounds: int, cv: float) -> Times:
    """A run lies higher or lower as a whole, by 2 % (standard deviation)."""
    return log_normal(random, metrics, rounds, cv) * math.exp(_OFFSET * random.standard_normal())


EQUAL: Final[dict[str, Noise]] = {
    "log-normal": log_normal,
    "drift of 10 %": drifting,
    "5 % outliers": with_outliers,
}
"""Runs with equal distributions."""

UNSTEADY: Final[dict[str, Noise]] = {
    "rounds go together (0.5)": autocorrelated,
    "each metric drifts its own way (5 %)": own_drift,
    "each metric of a run is off (2 %)": offset_metrics,
    "a whole run is off (2 %)": offset_run,
}
"""Runs that really differ, though nothing was changed: rounds alone cannot show that."""
