"""Judges generated text without the model: does it answer, and does it run in a loop?"""

from __future__ import annotations

import re
from collections.abc import Sequence

LEAST_LOOP = 8
"""Texts with fewer tokens are too short to call a repetition a loop."""


def answered(text: str, answers: Sequence[str]) -> bool:
    """True where the text is one of the answers, apart from surrounding white space and case."""
    return text.strip().casefold() in {answer.strip().casefold() for answer in answers}


def has_answer(text: str, answers: Sequence[str]) -> bool:
    """True where the text contains one of the answers as whole words, in any case."""
    return any(re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE) for answer in answers)


def repetition(tokens: Sequence[int]) -> float:
    """The share (0..1) of a text that its longest loop fills: a part that repeats with some period.

    0.0 for texts shorter than LEAST_LOOP. `a b a b a b a b` gives 1.0; ordinary text gives little.
    """
    if len(tokens) < LEAST_LOOP:
        return 0.0
    longest = 0
    for period in range(1, len(tokens) // 2 + 1):
        run = 0
        for index in range(period, len(tokens)):
            run = run + 1 if tokens[index] == tokens[index - period] else 0
            # It takes a whole repeated period to make a loop: two equal tokens may be a coincidence.
            if run >= period:
                longest = max(longest, run + period)
    return longest / len(tokens)
