"""Normalises answers as each dataset's own script does, before they are compared.

The scripts differ, and rankings of models change with that: SQuAD deletes punctuation (`well-known` becomes
`wellknown`), TriviaQA puts a blank in its place (`well known`).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from plimsoll.catalogue.entries import DatasetSchema

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
