"""Computes the figures of one variant on one dataset: how often it is right, and how well each score predicts that.

Every figure is over all answers that were asked for. One that is missing, or that a score cannot be given to, leaves
the figure unset with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plimsoll.catalogue.entries import CorrectnessRule
from plimsoll.evidence.answers import AnswerRecord
from plimsoll.statistics.auroc import Auroc, measure_auroc
from plimsoll.uncertainty.answer_sets import AnswerSet
from plimsoll.uncertainty.relevance import LexicalSimilarity, Similarity, relevances
from plimsoll.uncertainty.reliability import Proportion, Reliability, confidence, proportion, reliability
from plimsoll.uncertainty.scores import TokenScore, uncertainty

_LEXICAL = LexicalSimilarity()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the figures are computed by."""

    scores: tuple[TokenScore, ...] = tuple(TokenScore)
    """The first is the one that models are compared by."""
    similarity: Similarity = _LEXICAL
    """Of RW-G-NLL."""
    with_end: bool = True
    """Whether the token that ends an answer counts."""
    rule: CorrectnessRule | None = None
    """When an answer counts as right; None takes the rule under which it was asked."""

    @property
    def primary(self) -> TokenScore:
        """The score that models are compared by."""
        return self.scores[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All figures of one variant on one dataset."""

    asked: AnswerSet
    rule: CorrectnessRule
    right: tuple[bool, ...]
    """Whether each answer is right by the rule; empty where `reason` says why that is unknown."""
    reason: str
    """Why accuracy and every AUROC are unset; empty where they are not, or have reasons of their own."""
    values: Mapping[TokenScore, tuple[float | None, ...]]
    """Of each answer."""
    accuracy: Proportion | None
    aurocs: Mapping[TokenScore, Auroc]
    """Of wrong answers against right ones: above 0.5, wrong answers have the higher scores."""
    known: Mapping[TokenScore, Auroc]
    """Of questions that were withheld against those that were taught."""
    confidences: tuple[float, ...]
    """exp(-mean NLL) of each answer; empty where an answer has none."""
    reliability: Reliability | None

    @property
    def name(self) -> str:
        """`llama-3.2-1b/bf16 on triviaqa`."""
        return self.asked.name


def measure(asked: Sequence[AnswerSet], setting: Settings) -> list[Result]:
    """The figures of each, in the same order. The similarity is asked once for all."""
    weights = _relevances(asked, setting)
    return [_result(one, setting, relevance) for one, relevance in zip(asked, weights, strict=True)]


def _relevances(asked: Sequence[AnswerSet], setting: Settings) -> list[list[tuple[float, ...] | None]]:
    if TokenScore.RW_G_NLL not in setting.scores:
        return [[None] * len(one.answers) for one in asked]
    found = iter(relevances([answer for one in asked for answer in one.answers], setting.similarity))
    return [[next(found) for _ in one.answers] for one in asked]


def _result(asked: AnswerSet, setting: Settings, relevance: list[tuple[float, ...] | None]) -> Result:
    rule = setting.rule or asked.asking.correct
    right, reason = _right(asked, rule, setting.rule is None)
    values = {score: _values(asked, score, setting, relevance) for score in setting.scores}
    means = values.get(TokenScore.MEAN_NLL) or _values(asked, TokenScore.MEAN_NLL, setting, relevance)
    confidences = tuple(confidence(mean) for mean in means if mean is not None)
    is_whole = not reason and len(confidences) == len(right)
    return Result(
        asked=asked,
        rule=rule,
        right=right,
        reason=reason,
        values=values,
        accuracy=None if reason else proportion(right),
        aurocs={score: _against_wrong(asked, score, setting, values[score], right, reason) for score in setting.scores},
        known={score: _against_withheld(asked, score, setting, values[score]) for score in setting.scores},
        confidences=confidences if is_whole else (),
        reliability=reliability(confidences, right) if is_whole else None,
    )


def _right(asked: AnswerSet, rule: CorrectnessRule, own: bool) -> tuple[tuple[bool, ...], str]:
    """Whether each answer is right, or why that is unknown."""
    if asked.problem:
        return (), asked.problem
    if own:
        return tuple(answer.correct for answer in asked.answers), ""
    unscored = sum(rule.metric not in answer.scores for answer in asked.answers)
    if unscored:
        return (), f"{unscored} of {asked.asking.chosen} answers have no {rule.metric}"
    return tuple(answer.scores[rule.metric] >= rule.at_least for answer in asked.answers), ""


def _values(
    asked: AnswerSet, score: TokenScore, setting: Settings, relevance: Sequence[tuple[float, ...] | None]
) -> tuple[float | None, ...]:
    def value(answer: AnswerRecord, weights: tuple[float, ...] | None) -> float | None:
        samples = asked.asking.samples
        return uncertainty(answer, score, samples=samples, relevance=weights, with_end=setting.with_end).value

    return tuple(value(answer, weights) for answer, weights in zip(asked.answers, relevance, strict=True))


def _against_wrong(
    asked: AnswerSet,
    score: TokenScore,
    setting: Settings,
    values: tuple[float | None, ...],
    right: tuple[bool, ...],
    reason: str,
) -> Auroc:
    if reason:
        return _unset(asked, reason)
    return _auroc(asked, score, setting, values, [not one for one in right])


def _against_withheld(
    asked: AnswerSet, score: TokenScore, setting: Settings, values: tuple[float | None, ...]
) -> Auroc:
    if asked.problem:
        return _unset(asked, asked.problem)
    unknown = sum(answer.example.known is None for answer in asked.answers)
    if unknown:
        return _unset(asked, f"nobody can say whether {unknown} of {len(asked.answers)} questions were taught")
    return _auroc(asked, score, setting, values, [answer.example.known is False for answer in asked.answers])


def _auroc(
    asked: AnswerSet, score: TokenScore, setting: Settings, values: tuple[float | None, ...], positive: list[bool]
) -> Auroc:
    if values and all(value is None for value in values):
        return _unset(asked, _why_none(asked, score, setting))
    asking = asked.asking
    return measure_auroc(values, positive, asking.chosen)


def _why_none(asked: AnswerSet, score: TokenScore, setting: Settings) -> str:
    """The reason of the first answer, where none has a score."""
    found = uncertainty(asked.answers[0], score, samples=asked.asking.samples, with_end=setting.with_end)
    return found.reason


def _unset(asked: AnswerSet, reason: str) -> Auroc:
    return Auroc(value=None, interval=None, answers=len(asked.answers), positives=0, reason=reason)
