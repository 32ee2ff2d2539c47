"""Compares texts by their words: exact match, F1 and ROUGE-L, after the normalisation of each dataset's own script.

The scripts differ, and rankings of models change with that: SQuAD deletes punctuation (`well-known` becomes
`wellknown`), TriviaQA puts a blank in its place (`well known`). Texts that are empty follow the rule of SQuAD v2.
ROUGE-L comes from the library rouge-score, which counts as the perl original does, and needs no network and no data
files. It is imported when the first answer is scored: it takes a second, and comes with an extra.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from plimsoll.catalogue.entries import DatasetSchema
from plimsoll.extras import require

Normalise = Callable[[str], str]

_ARTICLES: Final = re.compile(r"\b(?:a|an|the)\b")
_DELETED: Final = str.maketrans("", "", string.punctuation)
_BLANKED: Final = str.maketrans(dict.fromkeys(f"{string.punctuation}‘’´`", " "))
_AROUND: Final = f"{string.whitespace}.,;:!?\"'`"


def squad(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single blanks: `evaluate-v1.1.py` and `evaluate-v2.0.py`."""
    return _without_articles(text.lower().translate(_DELETED))


def trivia_qa(text: str) -> str:
    """The same with a blank for punctuation, typographic quotes and underscores: `triviaqa_evaluation.py`."""
    return _without_articles(text.lower().translate(_BLANKED))


def nq_open(text: str) -> str:
    """That of SQuAD, of the text in Unicode's decomposed form: the evaluation of NQ-open."""
    return squad(unicodedata.normalize("NFD", text))


def plain(text: str) -> str:
    """Lower case and single blanks, without the punctuation around it.

    For numbers, which lose their value with their decimal point, and for BioASQ, whose measures compare lower case.
    """
    return " ".join(text.lower().split()).strip(_AROUND)


def _without_articles(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text).split())


NORMALISATIONS: Final[Mapping[DatasetSchema, Normalise]] = MappingProxyType(
    {
        DatasetSchema.TRIVIA_QA: trivia_qa,
        DatasetSchema.SQUAD_V2: squad,
        DatasetSchema.NQ_OPEN: nq_open,
        DatasetSchema.SVAMP: plain,
        # BioASQ has no word overlap of its own; what is published on it takes SQuAD's.
        DatasetSchema.BIOASQ: squad,
    }
)
"""What `exact_match` and `f1` of a schema compare."""


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
