"""Similarity by a cross-encoder of sentence-transformers, in a process of its own.

The command that reads evidence holds no torch: the model is loaded in `plimsoll.host.server.cross_encoder`, and only
texts and numbers cross over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plimsoll.child.started import Child
from plimsoll.errors import PlimsollError
from plimsoll.extras import require
from plimsoll.uncertainty.relevance import Pair

DEFAULT_MODEL: Final = "cross-encoder/stsb-roberta-large"
"""The reference of the method's authors; its scores lie from 0 to 1 as they come."""


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
        with Child("plimsoll.host.server.cross_encoder") as child:
            child.send({"model": self.model, "pairs": pairs})
            for message in filter(None, child.messages()):
                if "scores" in message:
                    return [float(score) for score in message["scores"]]
                raise PlimsollError(f"the cross-encoder {self.model} gave no similarities: {message['error']}")
            raise PlimsollError(f"the process of the cross-encoder {self.model} {child.post_mortem()}")
