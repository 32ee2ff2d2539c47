"""Computes the relevance of each token of an answer: the similarity that is lost when it is left out.

R_t = 1 - g(x + y, x + y without token t), x the question, y the answer, g a similarity from 0 to 1. Which g is a choice
that changes the score, so each has a name that every report states.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from plimsoll.evidence.answers import AnswerRecord

Pair = tuple[str, str]

_WORD: Final = re.compile(r"\w+")


class Similarity(Protocol):
    """Says how alike two texts are."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def similarities(self, pairs: Sequence[Pair]) -> Sequence[float]:
        """One number from 0 (nothing alike) to 1 (the same) for each pair, in order."""


class LexicalSimilarity:
    """F1 of the words that two texts share, case aside: no model, no download, and no idea of meaning.

    Of an answer, the words count alike and punctuation not at all; a piece of a word counts as the word that it breaks.
    """

    name = "lexical (F1 of shared words)"

    def similarities(self, pairs: Sequence[Pair]) -> list[float]:
        """2 * shared / (words of one + words of the other), words counted as often as they stand there."""
        return [_shared_words(one, other) for one, other in pairs]


def relevances(answers: Sequence[AnswerRecord], similarity: Similarity) -> list[tuple[float, ...]]:
    """The relevance R_t of every token of every answer, in one call of the similarity.

    The token that ended an answer has none: what the answer says is the same without it (LM-Polygraph treats special
    tokens so). Raises ValueError for a similarity outside of 0 to 1, which would give weights that mean nothing.
    """
    pairs = [pair for answer in answers for pair in _pairs(answer)]
    unique = list(dict.fromkeys(pairs))
    found = dict(zip(unique, similarity.similarities(unique), strict=True))
    for pair, value in found.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{similarity.name} calls {pair[0]!r} and {pair[1]!r} alike by {value}, not 0 to 1")
    return [_of_answer(answer, found) for answer in answers]


def _of_answer(answer: AnswerRecord, found: dict[Pair, float]) -> tuple[float, ...]:
    end = (0.0,) if answer.ended and answer.pieces else ()
    return (*(1.0 - found[pair] for pair in _pairs(answer)), *end)


def _pairs(answer: AnswerRecord) -> list[Pair]:
    """The question with the whole answer beside the question with each token left out, but for the ending one."""
    pieces = answer.pieces[:-1] if answer.ended else answer.pieces
    question = answer.example.question
    whole = f"{question} {''.join(pieces)}"
    return [(whole, f"{question} {''.join((*pieces[:t], *pieces[t + 1 :]))}") for t in range(len(pieces))]


def _shared_words(one: str, other: str) -> float:
    ours, theirs = (Counter(_WORD.findall(text.casefold())) for text in (one, other))
    count = ours.total() + theirs.total()
    if count == 0:
        return float(one.split() == other.split())
    return 2.0 * (ours & theirs).total() / count
