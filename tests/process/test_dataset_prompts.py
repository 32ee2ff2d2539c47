"""Which examples are asked, in what words, after which others, and that a fingerprint tells when anything changes."""

from __future__ import annotations

import subprocess
import sys

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.prompting import choose

EXAMPLES = tuple(
    Example(id=f"q{n}", question=f"How much is {n}?", context="", kind=AnswerKind.TEXT, golds=((str(n),),))
    for n in range(40)
)

CHOSEN = ["q14", "q35", "q27", "q7", "q32"]


def test_a_choice_is_the_same_in_every_process_and_version() -> None:
    # Written down: another order would make runs of two releases incomparable without anybody noticing.
    assert [example.id for example in choose(EXAMPLES, 5, 0)] == CHOSEN
    script = (
        "from tests.process.test_dataset_prompts import EXAMPLES, choose; "
        "print(*(e.id for e in choose(EXAMPLES, 5, 0)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == CHOSEN
