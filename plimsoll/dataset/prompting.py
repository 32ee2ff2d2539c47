"""Renders prompts, and computes the fingerprint that shows whether two runs asked the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from plimsoll.catalogue.entries import Dataset
from plimsoll.dataset.example import Example

_BETWEEN_SHOTS: Final = "\n\n"
_PLACE: Final = re.compile(r"\{(question|context)\}")


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
