"""Compares pairs of results, each by the test that fits how the two are related, and corrects for the number of tests
of one question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from plimsoll.statistics.auroc import Flags, Numbers
from plimsoll.statistics.correction import holm
from plimsoll.statistics.difference import (
    AurocDelta,
    delong_test,
    mcnemar,
    paired_bootstrap,
    paired_means,
    unpaired_test,
)
from plimsoll.statistics.seeded import generator
from plimsoll.uncertainty.measuring import Result, Settings
from plimsoll.uncertainty.pairs import Pair, Topic, pairs
from plimsoll.uncertainty.reliability import brier_losses
from plimsoll.uncertainty.scores import TokenScore

ALPHA: Final = 0.05
"""The chance of any false difference among the tests of one question."""

AUROC: Final = "auroc"
ACCURACY: Final = "accuracy"
BRIER: Final = "brier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of a pair: the second minus the first, or the reason why that was not computed."""

    question: Topic
    figure: str
    """`auroc`, `accuracy` or `brier`."""
    score: TokenScore | None
    """Of an AUROC; of METHOD the second's, which is held against the first score."""
    first: Result
    second: Result
    difference: AurocDelta | None
    reason: str = ""
    also: str = ""
    """In what the two differ beside what is asked; empty for a pure pair."""
    p_adjusted: float | None = None
    """Holm's, among the tests of the same question."""

    @property
    def is_shown(self) -> bool:
        """True where the difference is more than chance gives."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA

    @property
    def word(self) -> str:
        """`higher`, `lower`, `no difference shown`, or `not measured`."""
        if self.difference is None:
            return "not measured"
        if not self.is_shown:
            return "no difference shown"
        return "higher" if self.difference.value > 0.0 else "lower"


def compare(results: Sequence[Result], setting: Settings) -> tuple[Compared, ...]:
    """Every comparison, with p-values corrected within each question."""
    found = [row for pair in pairs(results) for row in _rows(pair, setting)]
    found += [row for result in results for row in _methods(result, setting)]
    return tuple(row for question in Topic for row in _corrected(found, question))


def _corrected(rows: Iterable[Compared], question: Topic) -> list[Compared]:
    asked = [row for row in rows if row.question is question]
    tested = [row.difference.p for row in asked if row.difference is not None]
    adjusted = iter(holm(tested))
    return [row if row.difference is None else replace(row, p_adjusted=next(adjusted)) for row in asked]


def _rows(pair: Pair, setting: Settings) -> list[Compared]:
    score = setting.primary
    rows = [_row(pair, AUROC, score, lambda: _auroc_difference(pair, score))]
    if pair.question is Topic.QUANTIZATION:
        rows.append(_row(pair, ACCURACY, None, lambda: _accuracy_difference(pair)))
        rows.append(_row(pair, BRIER, None, lambda: _brier_difference(pair)))
    return rows


def _row(pair: Pair, figure: str, score: TokenScore | None, test: Callable[[], AurocDelta]) -> Compared:
    reason = _why_not(pair, score)
    return Compared(
        question=pair.question,
        figure=figure,
        score=score,
        first=pair.first,
        second=pair.second,
        difference=None if reason else test(),
        reason=reason,
        also=pair.also,
    )


def _why_not(pair: Pair, score: TokenScore | None) -> str:
    for result in (pair.first, pair.second):
        unset = result.reason if score is None else result.aurocs[score].reason
        if not unset and score is None and result.reliability is None:
            unset = "an answer has no probability"
        if unset:
            return f"{result.name}: {unset}"
    if pair.question is Topic.DATASET:
        return ""
    one, other = pair.first, pair.second
    for what, ours, theirs in (
        ("shots", one.asked.asking.shots, other.asked.asking.shots),
        ("source", one.asked.asking.source, other.asked.asking.source),
        ("split", one.asked.asking.split, other.asked.asking.split),
        ("longest answer", one.asked.asking.max_new_tokens, other.asked.asking.max_new_tokens),
        ("correct", str(one.rule), str(other.rule)),
    ):
        if ours != theirs:
            return f"they were asked differently: {what} {ours} against {theirs}"
    return ""


def _methods(result: Result, setting: Settings) -> Iterable[Compared]:
    """Each further score against the first, on the same answers. Perplexity has the order of mean NLL: no test."""
    first = setting.primary
    same = {TokenScore.PERPLEXITY, TokenScore.MEAN_NLL}
    for score in setting.scores[1:]:
        if (score is TokenScore.PERPLEXITY and same <= set(setting.scores)) or {first, score} == same:
            continue
        reason = result.aurocs[first].reason or result.aurocs[score].reason
        difference = None
        if not reason:
            numbers, positive = _labelled(result, score)
            difference = delong_test(_numbers(result, first), numbers, positive)
        yield Compared(
            question=Topic.METHOD,
            figure=AUROC,
            score=score,
            first=result,
            second=result,
            difference=difference,
            reason=reason,
        )


def _auroc_difference(pair: Pair, score: TokenScore) -> AurocDelta:
    first, second = (_labelled(result, score) for result in (pair.first, pair.second))
    if not _same_questions(pair):
        return unpaired_test(first, second)
    names = (side.asked.asking for side in (pair.first, pair.second))
    random = generator("difference", score.value, *(f"{a.variant} {a.dataset} {a.fingerprint}" for a in names))
    return paired_bootstrap(first, second, random)


def _same_questions(pair: Pair) -> bool:
    return [a.example.id for a in pair.first.asked.answers] == [a.example.id for a in pair.second.asked.answers]


def _accuracy_difference(pair: Pair) -> AurocDelta:
    return mcnemar(np.asarray(pair.first.right), np.asarray(pair.second.right))


def _brier_difference(pair: Pair) -> AurocDelta:
    first, second = (np.asarray(brier_losses(r.confidences, r.right)) for r in (pair.first, pair.second))
    return paired_means(first, second)


def _labelled(result: Result, score: TokenScore) -> tuple[Numbers, Flags]:
    return _numbers(result, score), ~np.asarray(result.right, dtype=np.bool_)


def _numbers(result: Result, score: TokenScore) -> Numbers:
    return np.asarray(result.values[score], dtype=np.float64)
