"""Chooses the pairs of results to compare: for each research question, those that differ only in what it asks.

The questions are those of the comparison that the suite carries on: does size matter, does the family, does the
dataset, does instruction tuning help, what does quantization cost; and whether another score would do better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise
from typing import Final

from plimsoll.uncertainty.measuring import Result

ALIKE_IN_SIZE: Final = 2.0
"""Models of two families are held against each other where one has at most so many times the other's parameters."""

_FIRST_DATASET: Final = "triviaqa"
_SECOND_DATASET: Final = "squad"

_PRECISE_FIRST: Final = ("bf16", "fp16", "fp32", "int8", "nf4", "nf4-dq")
_UNQUANTIZED: Final = _PRECISE_FIRST[:3]
_ALIKE: Final = (_UNQUANTIZED, ("int8",), ("nf4", "nf4-dq"))
"""Quantizations that take as many bits: models in them are held against each other before any others."""


class Topic(StrEnum):
    """The research questions."""

    SIZE = "size"
    FAMILY = "family"
    DATASET = "dataset"
    TUNING = "tuning"
    QUANTIZATION = "quantization"
    METHOD = "method"

    @property
    def text(self) -> str:
        """As a sentence."""
        return _TEXTS[self]


_TEXTS: Final = {
    Topic.SIZE: "Do larger models of a family know better when they are wrong?",
    Topic.FAMILY: "Does it depend on the model's family?",
    Topic.DATASET: "Does it depend on the dataset: SQuAD against TriviaQA?",
    Topic.TUNING: "Does instruction tuning improve it?",
    Topic.QUANTIZATION: "What does quantization change?",
    Topic.METHOD: "Does another score tell better than the first?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two results to hold against each other: the second minus the first is what the question asks for."""

    question: Topic
    first: Result
    second: Result
    also: str = ""
    """In what they differ beside what is asked, where there was no purer pair."""


def pairs(results: Sequence[Result]) -> list[Pair]:
    """All pairs but those of methods, which lie within one result."""
    found: list[Pair] = []
    for group in _by_dataset(results):
        found += _sizes(group)
        found += _families(group)
        found += _tuned(group)
        found += _quantized(group)
    return found + list(_datasets(results))


def most_precise(results: Sequence[Result]) -> list[Result]:
    """Of each model on each dataset the variant that is least quantized: what pictures of models show."""
    best: dict[tuple[str, str], Result] = {}
    for result in results:
        key = (result.asked.asking.model, result.asked.dataset)
        if key not in best or _precision(result) < _precision(best[key]):
            best[key] = result
    return list(best.values())


def _precision(result: Result) -> int:
    quantization = result.asked.asking.quantization
    return _PRECISE_FIRST.index(quantization) if quantization in _PRECISE_FIRST else len(_PRECISE_FIRST)


def _by_dataset(results: Sequence[Result]) -> list[list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.asked.asking.dataset, []).append(result)
    return list(groups.values())


def _sizes(group: Sequence[Result]) -> Iterator[Pair]:
    """Neighbours in size, of one family, both tuned or both not."""
    families: dict[tuple[str, bool], dict[str, int]] = {}
    for asking in (result.asked.asking for result in group):
        if asking.parameters is not None:
            families.setdefault((asking.family, asking.tuned_from is not None), {})[asking.model] = asking.parameters
    for models in families.values():
        for small, large in pairwise(sorted(models, key=lambda model: models[model])):
            if models[small] < models[large]:
                yield from _best_common(Topic.SIZE, group, small, large)


def _families(group: Sequence[Result]) -> Iterator[Pair]:
    """Models of two families that are alike in size, both tuned or both not."""
    models = {result.asked.asking.model: result.asked.asking for result in group}
    for one, other in combinations(models.values(), 2):
        if one.family == other.family or (one.tuned_from is None) != (other.tuned_from is None):
            continue
        if one.parameters is None or other.parameters is None:
            continue
        smaller, larger = sorted((one.parameters, other.parameters))
        if larger <= ALIKE_IN_SIZE * smaller:
            yield from _best_common(Topic.FAMILY, group, one.model, other.model)


def _tuned(group: Sequence[Result]) -> Iterator[Pair]:
    """Each tuned model with the one that it was made from."""
    bases = {result.asked.asking.model: result.asked.asking.tuned_from for result in group}
    for model, base in bases.items():
        if base is not None and base in bases:
            yield from _best_common(Topic.TUNING, group, base, model)


def _quantized(group: Sequence[Result]) -> Iterator[Pair]:
    """Each quantized variant with the same model in 16 bit, asked exactly the same."""
    for result in group:
        asking = result.asked.asking
        if asking.quantization in _UNQUANTIZED:
            continue
        plain = [
            other
            for other in group
            if other.asked.asking.model == asking.model
            and other.asked.asking.fingerprint == asking.fingerprint
            and other.asked.asking.quantization in _UNQUANTIZED
        ]
        if plain:
            yield Pair(question=Topic.QUANTIZATION, first=min(plain, key=_precision), second=result)


def _datasets(results: Sequence[Result]) -> Iterator[Pair]:
    """Each variant on the two datasets."""
    for first in results:
        if first.asked.asking.dataset == _FIRST_DATASET:
            for second in results:
                same = second.asked.asking.variant == first.asked.asking.variant
                if same and second.asked.asking.dataset == _SECOND_DATASET:
                    yield Pair(question=Topic.DATASET, first=first, second=second)


def _best_common(question: Topic, group: Sequence[Result], one: str, other: str) -> Iterator[Pair]:
    """Two models in the most precise quantization in which both were asked. Where there is none, each in its own most
    precise one, and the pair says so: the comparison's own experiments are small models in 16 bit, large ones in 8."""
    sides = [sorted((r for r in group if r.asked.asking.model == model), key=_precision) for model in (one, other)]
    for alike in _ALIKE:
        first, second = ([r for r in side if r.asked.asking.quantization in alike] for side in sides)
        if first and second:
            yield Pair(question=question, first=first[0], second=_asked_alike(first[0], second))
            return
    first, second = sides
    if first and second:
        partner = _asked_alike(first[0], second)
        words = [result.asked.asking.quantization for result in (first[0], partner)]
        yield Pair(
            question=question,
            first=first[0],
            second=partner,
            also=f"they differ in quantization too: {' and '.join(words)}",
        )


def _asked_alike(result: Result, candidates: Sequence[Result]) -> Result:
    """The first candidate that was asked exactly the same, else the first."""
    fingerprint = result.asked.asking.fingerprint
    return next((c for c in candidates if c.asked.asking.fingerprint == fingerprint), candidates[0])
