"""The text that a model is asked: the question in its dataset's template, after the examples it is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from plimsoll.catalogue.datasets import Dataset
from plimsoll.dataset.example import Example

_PLACES: Final = re.compile(r"(\{question\}|\{context\})")


def render(dataset: Dataset, example: Example, shots: Sequence[Example] = ()) -> str:
    """The prompt for an example: each shot with its answer, a blank line between, and last the question itself."""
    blocks = [f"{_asked(dataset, shot)} {shot.answer}" for shot in shots]
    return "\n\n".join([*blocks, _asked(dataset, example)])


def _asked(dataset: Dataset, example: Example) -> str:
    """A passage may hold braces, which are no places to fill: the template is taken apart before anything is put in."""
    values = {"{question}": example.question, "{context}": example.context}
    return "".join(values.get(part, part) for part in _PLACES.split(dataset.prompt))
