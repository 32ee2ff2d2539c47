"""Computes uncertainty scores of an answer from the probabilities of its tokens: higher means less sure.

Each score is computed from evidence alone. A score that cannot be computed is None with its reason, never a zero: zero
would say that the model was certain. The definitions, with their sources, are in docs/uncertainty.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plimsoll.evidence.answers import AnswerRecord

_ROUNDING: Final = 1e-4
"""How far above 0 a log-probability may lie through rounding; what lies higher is no probability."""


class TokenScore(StrEnum):
    """The uncertainty scores, by the name that files and the command line use."""

    G_NLL = "g_nll"
    """Minus the log-probability of the whole greedy answer, summed over its tokens (arXiv 2412.15176)."""
    RW_G_NLL = "rw_g_nll"
    """The same with each token weighted by its relevance, weights that sum to 1 (TokenSAR, arXiv 2307.01379)."""
    MEAN_NLL = "mean_nll"
    """G-NLL divided by the number of tokens."""
    PERPLEXITY = "perplexity"
    """exp(mean NLL): another unit, the same order, so the same AUROC."""
    PREDICTIVE_ENTROPY = "predictive_entropy"
    """Mean of minus the log-probability of answers that were drawn at random: a Monte-Carlo estimate."""

    @property
    def label(self) -> str:
        """As people write it."""
        return _TITLES[self]


_TITLES: Final = {
    TokenScore.G_NLL: "G-NLL",
    TokenScore.RW_G_NLL: "RW-G-NLL",
    TokenScore.MEAN_NLL: "mean NLL",
    TokenScore.PERPLEXITY: "perplexity",
    TokenScore.PREDICTIVE_ENTROPY: "predictive entropy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """One score of one answer, in nats (perplexity: 1); `value` is None where `reason` says why there is none."""

    value: float | None
    reason: str = ""


def token_losses(answer: AnswerRecord, *, with_end: bool = True) -> tuple[float, ...]:
    """Minus the log-probability of each token of the greedy answer, in nats.

    `with_end` counts the token that ended the answer, where one did: that the model stops there is part of what it
    said. Raises ValueError, with the reason, for an answer without tokens and for what is no log-probability.
    """
    log_probs = answer.log_probs
    if answer.ended and not with_end:
        log_probs = log_probs[:-1]
    if not log_probs:
        raise ValueError("the answer has no tokens" + ("" if with_end else " beside its end"))
    for place, log_prob in enumerate(log_probs):
        _refuse_improbable(log_prob, f"token {place}")
    return tuple(-log_prob for log_prob in log_probs)


def g_nll(losses: Sequence[float]) -> float:
    """The sum: not normalised by length, as its paper has it."""
    return math.fsum(losses)


def mean_nll(losses: Sequence[float]) -> float:
    """The mean over tokens."""
    return math.fsum(losses) / len(losses)


def perplexity(losses: Sequence[float]) -> float:
    """exp of the mean; infinite where that is too large for a number."""
    try:
        return math.exp(mean_nll(losses))
    except OverflowError:
        return math.inf


def rw_g_nll(losses: Sequence[float], relevance: Sequence[float]) -> float:
    """The sum of losses, each weighted by its token's share of the relevance.

    `relevance` holds R_t = 1 - g(x + y, x + y without token t), from 0 to 1, one for each loss. Where no token has
    any, all weigh the same: the answer's wording then gives no reason to prefer one. (LM-Polygraph gives 0 there, which
    would call the answer certain; the unnormalised sum would put it on another scale than every other answer.)
    Raises ValueError for weights that do not fit.
    """
    if len(relevance) != len(losses):
        raise ValueError(f"{len(relevance)} weights for {len(losses)} tokens")
    if not all(0.0 <= weight <= 1.0 for weight in relevance):
        raise ValueError(f"a relevance lies from 0 to 1, not {next(w for w in relevance if not 0.0 <= w <= 1.0)}")
    total = math.fsum(relevance)
    if total == 0.0:
        return mean_nll(losses)
    return math.fsum(weight / total * loss for weight, loss in zip(relevance, losses, strict=True))


def predictive_entropy(answer: AnswerRecord, samples: int) -> float:
    """-1/k times the sum of the log-probabilities of the k answers that were drawn at random.

    `samples` is how many were asked for. Raises ValueError, with the reason, where there are none or not as many.
    """
    if samples == 0:
        raise ValueError("no answers were drawn at random: the run asked for none")
    if len(answer.samples) != samples:
        raise ValueError(f"{len(answer.samples)} of {samples} answers were drawn at random")
    for place, sample in enumerate(answer.samples):
        _refuse_improbable(sample.log_prob, f"drawn answer {place}")
    return -math.fsum(sample.log_prob for sample in answer.samples) / samples


_FROM_LOSSES: Final[dict[TokenScore, Callable[[Sequence[float]], float]]] = {
    TokenScore.G_NLL: g_nll,
    TokenScore.MEAN_NLL: mean_nll,
    TokenScore.PERPLEXITY: perplexity,
}


def uncertainty(
    answer: AnswerRecord,
    score: TokenScore,
    *,
    samples: int,
    relevance: Sequence[float] | None = None,
    with_end: bool = True,
) -> Uncertainty:
    """One score of one answer, or why there is none.

    `samples` is how many random answers were asked for; `relevance` has a weight for every token of the answer, the
    ending one too, and is needed for RW_G_NLL alone.
    """
    try:
        if score is TokenScore.PREDICTIVE_ENTROPY:
            return Uncertainty(value=predictive_entropy(answer, samples))
        losses = token_losses(answer, with_end=with_end)
        if score is TokenScore.RW_G_NLL:
            return Uncertainty(value=rw_g_nll(losses, _for_losses(answer, relevance, len(losses))))
        return Uncertainty(value=_FROM_LOSSES[score](losses))
    except ValueError as error:
        return Uncertainty(value=None, reason=str(error))


def _for_losses(answer: AnswerRecord, relevance: Sequence[float] | None, count: int) -> Sequence[float]:
    """The weights of the tokens that are counted: all, or all but the ending one."""
    if relevance is None:
        raise ValueError("no relevance of its tokens was computed")
    if len(relevance) != len(answer.log_probs):
        raise ValueError(f"{len(relevance)} weights for {len(answer.log_probs)} tokens")
    return relevance[:count]


def _refuse_improbable(log_prob: float, what: str) -> None:
    if not math.isfinite(log_prob) or log_prob > _ROUNDING:
        raise ValueError(f"the log-probability of {what} is {log_prob:g}, which is none")
