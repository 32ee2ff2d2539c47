"""How the times of two runs may be noisy: equal runs, as an honest comparison must not tell them apart, and runs that
differ though nothing was changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...], float], Times]
"""(random, shape, coefficient of variation) -> rounds; of the shape the last axis is the rounds, the one before it the
metrics, and any before that the runs."""

_DRIFT: Final = 0.10
"""How much slower the last round is than the first, where rounds drift."""
_OUTLIERS: Final = 0.05
"""The share of rounds that something disturbs, which makes them twice as long on average."""
_SLOPE: Final = 0.05
_OFFSET: Final = 0.02
_STEP: Final = 0.12


def log_normal(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """Independent log-normal rounds."""
    return np.exp(log_sigma(cv) * random.standard_normal(shape))


def log_sigma(cv: float) -> float:
    """The standard deviation of the logarithms of log-normal times with this coefficient of variation."""
    return math.sqrt(math.log1p(cv * cv))


def drifting(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """The same drift in every run: a machine that warms up."""
    return log_normal(random, shape, cv) * (1.0 + _DRIFT * np.linspace(0.0, 1.0, shape[-1]))


def with_outliers(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """Some rounds are much longer: another process, a checkpoint of the disk."""
    times = log_normal(random, shape, cv)
    hit = random.random(times.shape) < _OUTLIERS
    return times * np.where(hit, 1.0 + random.exponential(1.0, times.shape), 1.0)


def own_drift(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """Each metric of each run drifts its own way, by 5 % (standard deviation) from first to last round."""
    slopes = _SLOPE * random.standard_normal((*shape[:-1], 1))
    return log_normal(random, shape, cv) * (1.0 + slopes * np.linspace(0.0, 1.0, shape[-1]))


def warming_up(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """The first rounds of every run are slower, by 10 % and then less and less."""
    return log_normal(random, shape, cv) * (1.0 + _DRIFT * np.exp(-np.arange(shape[-1]) / 3.0))


def autocorrelated(correlation: float) -> Noise:
    """Each round goes along with the one before it, by this correlation."""

    def noise(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
        steps = random.standard_normal(shape)
        for i in range(1, shape[-1]):
            steps[..., i] = correlation * steps[..., i - 1] + math.sqrt(1.0 - correlation**2) * steps[..., i]
        return np.exp(log_sigma(cv) * steps)

    return noise


def sticky_clock(stay: float, slow: float = 0.5) -> Noise:
    """A clock that jumps between two states 12 % apart; it is in the slow one for this share of all rounds, and stays
    where it is with the chance `stay` where both are equally frequent."""

    def noise(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
        to_slow, to_fast = 2.0 * (1.0 - stay) * slow, 2.0 * (1.0 - stay) * (1.0 - slow)
        is_slow = np.empty(shape, dtype=np.bool_)
        is_slow[..., 0] = random.random(shape[:-1]) < slow
        for i in range(1, shape[-1]):
            drawn, before = random.random(shape[:-1]), is_slow[..., i - 1]
            is_slow[..., i] = np.where(before, drawn >= to_fast, drawn < to_slow)
        return log_normal(random, shape, cv) * np.where(is_slow, 1.0 + _STEP, 1.0)

    return noise


def busy(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """A busy machine: each round takes as much longer as its neighbours leave it, with a long tail."""
    return log_normal(random, shape, cv) * (1.0 + cv * random.pareto(2.0, shape))


def offset_metrics(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """Each metric of a run lies higher or lower as a whole, by 2 % (standard deviation)."""
    return log_normal(random, shape, cv) * np.exp(_OFFSET * random.standard_normal((*shape[:-1], 1)))


def offset_run(random: np.random.Generator, shape: tuple[int, ...], cv: float) -> Times:
    """A run lies higher or lower as a whole, by 2 % (standard deviation)."""
    return log_normal(random, shape, cv) * np.exp(_OFFSET * random.standard_normal((*shape[:-2], 1, 1)))


EQUAL: Final[dict[str, Noise]] = {
    "log-normal": log_normal,
    "drift of 10 %": drifting,
    "warm-up of 10 %": warming_up,
    "5 % outliers": with_outliers,
    "busy machine": busy,
}
"""Runs with equal distributions, whose rounds are independent beside a drift that both runs have."""

TOGETHER: Final[dict[str, Noise]] = {
    "autoregressive, 0.3": autocorrelated(0.3),
    "autoregressive, 0.5": autocorrelated(0.5),
    "autoregressive, 0.6": autocorrelated(0.6),
    "sticky clock, stays 0.8": sticky_clock(0.8),
    "sticky clock, stays 0.9": sticky_clock(0.9),
    "sticky clock, slow for a fifth": sticky_clock(0.9, 0.2),
}
"""Runs with equal distributions, whose rounds go together."""

UNSTEADY: Final[dict[str, Noise]] = {
    "each metric drifts its own way (5 %)": own_drift,
    "each metric of a run is off (2 %)": offset_metrics,
    "a whole run is off (2 %)": offset_run,
}
"""Runs that really differ, though nothing was changed: rounds alone cannot show that."""
