"""Similarity by a cross-encoder of sentence-transformers, in a process of its own.

The command that reads evidence holds no torch: the model is loaded where the process `cross_encoder_process` runs, and
only texts and numbers cross over.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.extras import require
from plimsoll.uncertainty.relevance import Pair

DEFAULT_MODEL: Final = "cross-encoder/stsb-roberta-large"
"""The reference of the method's authors; its scores lie from 0 to 1 as they come."""

_SHOWN: Final = 2000
"""Characters of the last words of a process that failed."""


class CrossEncoderSimilarity:
    """Asks a cross-encoder, `cross-encoder/stsb-roberta-large` or another one of the Hub or of a folder.

    Raises PlimsollError where sentence-transformers is not installed.
    """

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        require("similarity", "a cross-encoder", ("sentence_transformers",), "or use --similarity lexical")
        self.model = model

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"cross-encoder {self.model}"

    def similarities(self, pairs: Sequence[Pair]) -> list[float]:
        """The model's score of each pair, from 0 to 1 and never rescaled.

        Raises PlimsollError where the model cannot be loaded or does not give one score a pair.
        """
        if not pairs:
            return []
        request = json.dumps({"model": self.model, "pairs": pairs})
        done = subprocess.run(
            [sys.executable, "-m", "plimsoll.host.server.cross_encoder"],
            input=request,
            capture_output=True,
            text=True,
            check=False,
            encoding="utf-8",
        )
        if done.returncode != 0:
            said = done.stderr.strip()[-_SHOWN:]
            raise PlimsollError(f"the cross-encoder {self.model} gave no similarities: {said}")
        scores: list[float] = json.loads(done.stdout.splitlines()[-1])
        return scores
