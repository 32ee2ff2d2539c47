"""ROUGE-L by the library rouge-score, which counts as the perl original does; it needs no network and no data files.

The library is imported when the first answer is scored: it takes a second, and comes with an extra.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from plimsoll.extras import require


def require_rouge() -> None:
    """Raise PlimsollError, with the command that installs it, unless rouge-score is installed; imports nothing."""
    require("datasets", "scoring the answers to a dataset", ("rouge_score",))


def rouge_l(answer: str, golds: Sequence[str]) -> float:
    """F of ROUGE-L against the best gold, without stemming, 0 to 1. Raises PlimsollError without the library.

    The library sees a-z and 0-9 alone. A gold with none of them, such as a name in another script, counts 1 where the
    answer is that text, and 0 else: its score would be 0 for a right answer too. Letters with accents are taken in
    their composed form, so that a text scores the same in either.
    """
    answer = unicodedata.normalize("NFC", answer)
    return max(_against(answer, unicodedata.normalize("NFC", gold)) for gold in golds)


def _against(answer: str, gold: str) -> float:
    scorer, tokenizer = _library()
    if not tokenizer.tokenize(gold):
        return float(answer.casefold().split() == gold.casefold().split())
    return float(scorer.score(gold, answer)["rougeL"].fmeasure)


@cache
def _library() -> tuple[Any, Any]:
    require_rouge()
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer(use_stemmer=False)
    return RougeScorer(["rougeL"], tokenizer=tokenizer), tokenizer
