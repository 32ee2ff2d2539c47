"""Chooses the examples that are asked and the few-shot examples before them, and renders their prompts.

A seed chooses, alike for every model: each choice is the front of one shuffled order, so that 400 samples contain the
10 of a quick look, and a longer run is the same run gone on. A fingerprint shows whether two runs asked the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from plimsoll.catalogue.entries import Dataset
from plimsoll.dataset.example import Example
from plimsoll.errors import PlimsollError

MOST_SHOTS: Final = 5
_BETWEEN_SHOTS: Final = "\n\n"
_PLACE: Final = re.compile(r"\{(question|context)\}")


def choose(examples: Sequence[Example], count: int | None, seed: int) -> tuple[Example, ...]:
    """The first `count` examples of the order that the seed gives; all of them for None.

    The order of the examples given does not matter, nor do examples that are added: whichever of two goes first
    depends on their ids and the seed alone. Raises PlimsollError for more than there are, and for none.
    """
    if count is not None and not 1 <= count <= len(examples):
        raise PlimsollError(
            f"cannot choose {count} of {len(examples):,} examples; ask for 1 to {len(examples):,}, or all"
        )
    return tuple(_shuffled(examples, f"asked {seed}")[:count])


class Shots:
    """The few-shot examples of a run, 0 to 5 of those given.

    Every question has the same ones before it, but for one that would stand before itself: the next takes its place.
    """

    def __init__(self, examples: Sequence[Example], count: int, seed: int) -> None:
        """Raises PlimsollError for a count that cannot be had."""
        if not 0 <= count <= MOST_SHOTS:
            raise PlimsollError(f"{count} few-shot examples cannot be had; ask for 0 to {MOST_SHOTS}")
        self._count = count
        self._ordered = _shuffled(examples, f"shots {seed}") if count else []

    def before(self, asked: Example) -> tuple[Example, ...]:
        """Those for one question. Raises PlimsollError where too few others are left."""
        others = (example for example in self._ordered if not _is_same(example, asked))
        shots = tuple(islice(others, self._count))
        if len(shots) < self._count:
            raise PlimsollError(
                f"{self._count} few-shot examples cannot be had of {len(self._ordered)}, without the question itself "
                f"({asked.id}); ask for fewer"
            )
        return shots


def _is_same(one: Example, other: Example) -> bool:
    """By the words too: splits overlap, and the same question under another id gives its answer away."""
    return one.id == other.id or (one.question, one.context) == (other.question, other.context)


def _shuffled(examples: Sequence[Example], seed: str) -> list[Example]:
    """By a hash, not by `random`: its sequences differ between versions of Python, and with the number of examples."""
    return sorted(examples, key=lambda example: hashlib.sha256(f"{seed}\0{example.id}".encode()).digest())


def render(dataset: Dataset, example: Example, shots: Sequence[Example] = ()) -> str:
    """The prompt of a question: each shot with its answer, an empty line after it, then the question without one."""
    asked = [*(f"{_ask(dataset, shot)} {_one_line(shot.answer)}" for shot in shots), _ask(dataset, example)]
    return _BETWEEN_SHOTS.join(asked)


def fingerprint(prompts: Sequence[str], examples: Sequence[Example], settings: Mapping[str, Any]) -> str:
    """SHA-256 over the prompts in order, what counts as their answers, and the settings, as 64 hexadecimal digits.

    Equal ones asked the same questions in the same way and judged them by the same golds. `settings` is JSON data; the
    order of its keys does not matter. Raises ValueError unless there is an example for each prompt.
    """
    asked = [
        [prompt, example.id, example.kind.value, example.golds]
        for prompt, example in zip(prompts, examples, strict=True)
    ]
    plain = json.dumps([asked, settings], sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(plain.encode("ascii")).hexdigest()


def _ask(dataset: Dataset, example: Example) -> str:
    # A function, and one pass: the text of a question may hold braces and backslashes of its own.
    texts = {"question": example.question.strip(), "context": example.context.strip()}
    return _PLACE.sub(lambda match: texts[match[1]], dataset.prompt)


def _one_line(answer: str) -> str:
    """Without line breaks, which would end the answer where models are stopped at one."""
    return " ".join(answer.split())
