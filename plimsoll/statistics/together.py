"""Estimates how far the rounds of a run vary together, and what that leaves of the difference of two runs.

Rounds that follow each other share a clock state, a neighbour, a warm disk: twenty may tell as little as five. How far
they go together cannot be read off few rounds, so it is not estimated and then believed: every strength and length of
memory on a grid is weighed by how well it explains the rounds, and a difference is judged by the mixture of t
distributions over the grid. With many rounds the weights gather at the truth; with few they stay spread, and the answer
stays open.

The correlation of two rounds is `share * memory ** distance`: noise of their own beside a part that fades.
Autoregressive noise and a clock that jumps between two states are both of this form. The likelihood is the restricted
one, in which the means, the size of the noise, and a straight trend that both runs have (a machine that warms up) play
no part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plimsoll.statistics.distributions import Numbers, student_above, student_quantile

_MEMORIES: Final = (0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 0.96)
_SHARES: Final = (0.35, 0.65, 1.0)
_INDEPENDENT: Final = 0.15
"""What is believed beforehand of rounds that share nothing; the rest of the grid has the rest in equal parts."""
_ITS_OWN: Final = 0.2
"""How many times of a comparison are believed beforehand to go together in another way than the others."""
_BLOCKS: Final = 120
"""Above so many rounds of a side, means of blocks replace them: slow changes, which do the harm, show in these as
well."""
_NEAR: Final = 2.0**-18
"""The precision of a distance, as a share of the interval that holds it."""
_MOST_STEPS: Final = 18
_LASTS: Final = 0.8
"""Memory from which a state lasts as long as a good part of the rounds of a run."""

_GRID: Final[Numbers] = np.array([(0.0, 0.0), *((share, memory) for memory in _MEMORIES for share in _SHARES)])
SHARES: Final[Numbers] = _GRID[:, 0]
IS_SLOW: Final[NDArray[np.bool_]] = _GRID[:, 1] >= _LASTS
_PRIOR: Final[Numbers] = np.log(
    np.where(SHARES == 0.0, _INDEPENDENT, (1.0 - _INDEPENDENT) / (len(_GRID) - 1)).astype(np.float64)
)


@dataclass(frozen=True, slots=True)
class _Design:
    """What rounds of two sides come to at each point of the grid, which is the first axis."""

    projections: Numbers
    """x @ projection @ x is the sum of squares that the means and the trend leave of x."""
    contrasts: Numbers
    """contrast @ x is the difference of the means, the second side less the first."""
    variances: Numbers
    """Of that difference, as a multiple of the variance of a round."""
    log_weights: Numbers
    """The part of the log-likelihood that does not depend on x."""
    freedom: int


@lru_cache(maxsize=8)
def _design(first: int, second: int) -> _Design:
    place = np.concatenate([np.arange(first), np.arange(second)]).astype(np.float64)
    sides = np.repeat([[1.0, 0.0], [0.0, 1.0]], [first, second], axis=0)
    model = np.column_stack([sides, place - place.mean()])
    # Rounds of different sides are independent, so each side is inverted by itself: large matrices are slow, and a
    # library of linear algebra shares them out among all cores, of which a busy machine has none to spare.
    inverse = np.zeros((len(_GRID), first + second, first + second))
    inverse[:, :first, :first], of_first = _inverse(first)
    inverse[:, first:, first:], of_second = _inverse(second)
    seen = inverse @ model
    information = model.T @ seen
    covariance = np.linalg.inv(information)
    estimate = covariance @ np.swapaxes(seen, 1, 2)
    return _Design(
        projections=inverse - seen @ estimate,
        contrasts=estimate[:, 1] - estimate[:, 0],
        variances=covariance[:, 0, 0] + covariance[:, 1, 1] - 2.0 * covariance[:, 0, 1],
        log_weights=-0.5 * (of_first + of_second + np.linalg.slogdet(information)[1]),
        freedom=first + second - model.shape[1],
    )


@lru_cache(maxsize=4)
def _inverse(count: int) -> tuple[Numbers, Numbers]:
    """The inverse of the correlation of so many rounds, and the logarithm of its determinant, at each point of the
    grid."""
    places = np.arange(count)
    distance = np.abs(places[:, None] - places).astype(np.float64)
    correlation = SHARES[:, None, None] * _GRID[:, 1, None, None] ** distance
    correlation[:, places, places] = 1.0
    return np.linalg.inv(correlation), np.linalg.slogdet(correlation)[1]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rounds of times say at each point of the grid (last axis); the axis before it is the times."""

    log_likelihood: Numbers
    difference: Numbers
    deviation: Numbers
    """The standard error of the difference."""
    spread: Numbers
    """The standard deviation of a round, or of a block of them."""
    independent: Numbers
    """The standard error of the difference were rounds independent, with a last axis of one."""
    freedom: int


def evidence(first: Numbers, second: Numbers) -> Evidence:
    """What the rounds of two sides (last axis; their order is that of time) say.

    A time whose rounds are all the same says nothing of how they go together.
    """
    whole = first, second
    first, second = _shortened(first), _shortened(second)
    design = _design(first.shape[-1], second.shape[-1])
    x = np.concatenate([first, second], axis=-1)
    x = x - x.mean(axis=-1, keepdims=True)  # changes nothing but the rounding
    squares = np.stack([np.einsum("...i,...i->...", x @ one, x) for one in design.projections], axis=-1)
    varies = (squares > 1e-20).all(axis=-1, keepdims=True)
    squares = np.maximum(squares, 1e-20)
    logs = design.log_weights - design.freedom / 2.0 * np.log(squares)
    deviation = np.sqrt(design.variances * squares / design.freedom)
    is_whole = first.shape[-1] == whole[0].shape[-1] and second.shape[-1] == whole[1].shape[-1]
    return Evidence(
        log_likelihood=np.where(varies, logs, 0.0),
        difference=x @ design.contrasts.T,
        deviation=deviation,
        spread=np.sqrt(squares / design.freedom),
        # Means of blocks share what their rounds share, and so cannot tell what independent rounds would show.
        independent=deviation[..., :1] if is_whole else _error(*whole),
        freedom=design.freedom,
    )


def _error(first: Numbers, second: Numbers) -> Numbers:
    squares = sum(side.var(axis=-1, ddof=1) / side.shape[-1] for side in (first, second))
    return np.asarray(np.maximum(np.sqrt(squares), 1e-10)[..., None])


def _shortened(rounds: Numbers) -> Numbers:
    count = rounds.shape[-1]
    if count <= _BLOCKS:
        return rounds
    length = -(-count // _BLOCKS)
    blocks = count // length
    return np.asarray(rounds[..., : blocks * length].reshape(*rounds.shape[:-1], blocks, length).mean(axis=-1))


def weights(log_likelihoods: Sequence[Numbers]) -> tuple[list[Numbers], Numbers]:
    """How much each point of the grid is believed, for each time of each group, and for all of them together.

    All times are taken to go together in the same way, for one machine made them; one that clearly does not is believed
    by itself.
    """
    total = np.sum([group.sum(axis=-2) for group in log_likelihoods], axis=0)
    shared = _normal(total + _PRIOR)
    count = sum(group.shape[-2] for group in log_likelihoods)
    if count == 1:
        return [_normal(group + _PRIOR) for group in log_likelihoods], shared
    before = _ITS_OWN / count
    return [_of_each(group, total[..., None, :], shared[..., None, :], before) for group in log_likelihoods], shared


def _of_each(group: Numbers, total: Numbers, shared: Numbers, before: float) -> Numbers:
    own = _normal(group + _PRIOR)
    likelihood = np.exp(group - group.max(axis=-1, keepdims=True))
    by_others = (_normal(total - group + _PRIOR) * likelihood).sum(axis=-1, keepdims=True)
    by_itself = (np.exp(_PRIOR) * likelihood).sum(axis=-1, keepdims=True)
    chance = before * by_itself / (before * by_itself + (1.0 - before) * by_others)
    return np.asarray((1.0 - chance) * shared + chance * own)


def _normal(logs: Numbers) -> Numbers:
    raised = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def tails(weight: Numbers, distance: Numbers, freedom: int) -> tuple[Numbers, Numbers]:
    """The chances that the truth lies below and above, for distances in standard errors at each point of the grid."""
    below = (weight * student_above(distance, freedom)).sum(axis=-1)
    above = (weight * student_above(-distance, freedom)).sum(axis=-1)
    return below, above


def reach(weight: Numbers, scale: Numbers, freedom: int, level: float) -> Numbers:
    """The distance beyond which a t mixture with these scales lies with the chance `level`, both sides together.

    Newton's method, in logarithms, for tails fall by a power; a step that leaves the interval that holds the distance
    halves it instead.
    """
    one = student_quantile(level / 2.0, freedom)
    low, high = one * scale.min(axis=-1), one * scale.max(axis=-1)
    near = _NEAR * (high - low) + np.spacing(high)
    distance = following = one * np.sqrt((weight * scale**2).sum(axis=-1))
    for _ in range(_MOST_STEPS):
        beyond = _beyond(weight, scale, freedom, distance)
        low, high = np.where(beyond > level, distance, low), np.where(beyond > level, high, distance)
        fall = distance * _density(weight, scale, freedom, distance) / beyond
        step = distance * np.exp(np.log(beyond / level) / fall)
        following = np.where((step >= low) & (step <= high), step, (low + high) / 2.0)
        if (np.abs(following - distance) <= near).all():
            break
        distance = following
    return np.asarray(following)


def _density(weight: Numbers, scale: Numbers, freedom: int, distance: Numbers) -> Numbers:
    """How fast the chance of lying beyond falls with the distance."""
    height = math.exp(math.lgamma((freedom + 1) / 2.0) - math.lgamma(freedom / 2.0)) / math.sqrt(freedom * math.pi)
    shape = (1.0 + (distance[..., None] / scale) ** 2 / freedom) ** (-(freedom + 1) / 2.0)
    return np.asarray(2.0 * height * (weight / scale * shape).sum(axis=-1))


def _beyond(weight: Numbers, scale: Numbers, freedom: int, distance: Numbers) -> Numbers:
    return np.asarray(2.0 * (weight * student_above(distance[..., None] / scale, freedom)).sum(axis=-1))
