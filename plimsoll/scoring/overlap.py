"""Exact match and F1 over words, with the rule of SQuAD v2 for texts that are empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from plimsoll.scoring.normalise import Normalise


def exact_match(answer: str, gold: str, normalise: Normalise) -> float:
    """1 where both are the same text once normalised, else 0."""
    return float(normalise(answer) == normalise(gold))


def f1(answer: str, gold: str, normalise: Normalise, *, of_nothing: float = 1.0) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it stands.

    Where one side has no word, 0; where neither has one, `of_nothing`: 1 in `evaluate-v2.0.py`, 0 in
    `triviaqa_evaluation.py`, which wants a word in common.
    """
    said, wanted = Counter(normalise(answer).split()), Counter(normalise(gold).split())
    if not said or not wanted:
        return of_nothing if said == wanted else 0.0
    # 2PR / (P + R) with P = shared/said and R = shared/wanted.
    return 2 * (said & wanted).total() / (said.total() + wanted.total())


def with_words(golds: Iterable[str], normalise: Normalise) -> tuple[str, ...]:
    """The golds that have a word left once normalised; where none has one the empty text, which is "no answer".

    So `evaluate-v2.0.py` does it: a gold `.` would otherwise be met by saying nothing. Other scripts keep every gold.
    """
    return tuple(gold for gold in golds if normalise(gold)) or ("",)
