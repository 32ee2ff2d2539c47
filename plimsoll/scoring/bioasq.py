"""The measures of BioASQ's task B for exact answers, on one answer of a model that writes free text.

The challenge takes lists: up to five candidates for a factoid question, items for a list question. A model's text is
taken apart for that. Items and synonyms are then compared in lower case, as the challenge's own evaluator does
(`QuestionAnswerEvaluator.java`), here also without the punctuation around them, since a sentence ends with a stop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from plimsoll.scoring.words import plain

Golds = Sequence[Sequence[str]]
"""Synonyms, an item each."""

_CANDIDATES: Final = 5
"""So many the challenge reads of a factoid answer."""
_BETWEEN_CANDIDATES: Final = re.compile(r"[\n;]")
# A comma inside a name has no blank after it (`1,2-dichloroethane`).
_BETWEEN_ITEMS: Final = re.compile(r"[\n;]|,\s")
_BULLET: Final = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_AND: Final = re.compile(r"\s+and\s+|^and\s+", re.IGNORECASE)


def yes_no(answer: str, gold: str) -> float:
    """1 where the answer says what the gold says, else 0.

    As the challenge's evaluator reads it: an answer that contains `yes` anywhere is yes, else one that contains `no`
    is no, else it is neither.
    """
    said = _yes_or_no(answer)
    return float(said != "" and said == _yes_or_no(gold))


def _yes_or_no(text: str) -> str:
    return next((word for word in ("yes", "no") if word in text.lower()), "")


def factoid(answer: str, synonyms: Sequence[str]) -> Mapping[str, float]:
    """`strict`, `lenient` and `mrr` of the candidates in the answer, parted by `;` or line: all equal for a single one.

    A comma does not part candidates: names hold commas.
    """
    wanted = {plain(synonym) for synonym in synonyms}
    candidates = _parts(answer, _BETWEEN_CANDIDATES)[:_CANDIDATES]
    places = [place for place, candidate in enumerate(candidates, start=1) if candidate in wanted]
    first = places[0] if places else None
    return {
        "strict": float(first == 1),
        "lenient": float(first is not None),
        "mrr": 1 / first if first is not None else 0.0,
    }


def listed(answer: str, golds: Golds) -> Mapping[str, float]:
    """`list_precision`, `list_recall` and `list_f1` of the items in the answer, parted by `;`, line, `, ` or `and`.

    A gold is found once: naming it again, or by a synonym, counts as a wrong item, as the challenge has it.
    """
    items = _items(answer, golds)
    missing = [{plain(synonym) for synonym in item} for item in golds]
    found = 0
    for item in items:
        match = next((synonyms for synonyms in missing if item in synonyms), None)
        if match is not None:
            missing.remove(match)
            found += 1
    return {
        "list_precision": found / len(items) if items else 0.0,
        "list_recall": found / len(golds) if golds else 0.0,
        "list_f1": 2 * found / (len(items) + len(golds)) if items or golds else 0.0,
    }


def _items(answer: str, golds: Golds) -> list[str]:
    known = {plain(synonym) for item in golds for synonym in item}
    items: list[str] = []
    for part in _parts(answer, _BETWEEN_ITEMS):
        # `signs and symptoms` may be the name of one item.
        items += [part] if part in known else filter(None, map(plain, _AND.split(part)))
    return items


def _parts(answer: str, between: re.Pattern[str]) -> list[str]:
    parts = (plain(_BULLET.sub("", part)) for part in between.split(answer))
    return [part for part in parts if part]
