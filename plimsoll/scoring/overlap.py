"""Exact match and F1 over words, with the rule of SQuAD v2 for texts that are empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from plimsoll.scoring.normalise import Normalise


def exact_match(answer: str, gold: str, normalise: Normalise) -> float:
    """1 where both are the same text once normalised, else 0."""
    return float(normalise(answer) == normalise(gold))


def f1(answer: str, gold: str, normalise: Normalise) -> float:
    """Harmonic mean of precision and recall over words, each counted as often as it stands.

    Where either side has no word, 1 if neither has one, else 0, as `evaluate-v2.0.py` has it.
    """
    said, wanted = Counter(normalise(answer).split()), Counter(normalise(gold).split())
    if not said or not wanted:
        return float(said == wanted)
    # 2PR / (P + R) with P = shared/said and R = shared/wanted.
    return 2 * (said & wanted).total() / (said.total() + wanted.total())


def with_words(golds: Iterable[str], normalise: Normalise) -> tuple[str, ...]:
    """The golds that have a word left once normalised; where none has one the empty text, which is "no answer".

    So `evaluate-v2.0.py` does it: a gold `.` would otherwise be met by saying nothing.
    """
    return tuple(gold for gold in golds if normalise(gold)) or ("",)
