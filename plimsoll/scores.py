"""The scores that an answer to a dataset's question can have, by name, each from 0 to 1.

Apart from `plimsoll.scoring`, which computes them, so that the catalogue can check the names in its rules without
knowing how a score is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SCORES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "exact_match": "the answer says what a gold says, both normalised as the dataset's own script does",
        "f1": "words shared with the best gold, normalised as the dataset's own script does; of a list question, items",
        "rouge_l": "longest common subsequence of words with the best gold, F measure, by the library rouge-score",
        "numeric": "the number that the answer comes to is the gold's",
        "yes_no": "the answer begins with the right one of yes and no",
        "strict": "BioASQ factoid: the first candidate of the answer is the gold or a synonym of it",
        "lenient": "BioASQ factoid: one of the first five candidates is",
        "mrr": "BioASQ factoid: one divided by the place of the first candidate that is, 0 for none",
        "list_precision": "BioASQ list: how many of the named items are golds",
        "list_recall": "BioASQ list: how many of the golds are named",
        "list_f1": "BioASQ list: harmonic mean of the two",
    }
)

_OF_ALL: Final = ("exact_match", "f1", "rouge_l")

RULE_SCORES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "trivia_qa": _OF_ALL,
        "squad_v2": _OF_ALL,
        "nq_open": _OF_ALL,
        "svamp": (*_OF_ALL, "numeric"),
        "bioasq": _OF_ALL,
    }
)
"""For each schema the scores that every one of its examples has, so that a rule about one can judge them all."""
