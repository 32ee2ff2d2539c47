"""Skips as values: why a variant is not run, and what to do about it.

Apart from `decide`, because `gate.hub` words the Hub's refusals as skips too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

_TEXT: Final = re.compile(r"(?s)skip\[(?P<code>\w+)\]: has (?P<have>.*?), needs (?P<need>.*); fix: (?P<fix>.*?)")


class SkipCode(StrEnum):
    """Why a variant is not run; part of evidence and of the reports' format."""

    PACKAGE = "package"
    NO_GPU = "no_gpu"
    CAPABILITY = "capability"
    VRAM = "vram"
    RAM = "ram"
    DISK = "disk"
    ARCHITECTURE = "architecture"
    """The entry asks its architecture for something that it cannot do on any machine."""
    WEIGHTS = "weights"
    """The entry has no weights of the chosen source."""
    DATA = "data"
    """The dataset has no rows of the chosen source, or too few of them were asked."""
    REGISTRATION = "registration"
    """The data is only for registered people."""
    PACKED = "packed"
    """The weights were saved packed, so there are no 16-bit weights to compare with."""
    BUSY = "busy"
    """A deadline was missed for lack of processor time, which says nothing about the model."""
    SUSPENDED = "suspended"
    """The whole run was stopped and continued while something was timed."""
    NO_FLOOR = "no_floor"
    """A speed was measured, but the catalogue has no floor for this product."""
    PAGE_CACHE = "page_cache"
    """The page cache cannot be brought into the state that the figure needs."""
    COUNTER = "counter"
    """A counter of a GPU's health could not be read, which says nothing about the GPU."""
    OFFLINE = "offline"
    NOT_LOGGED_IN = "not_logged_in"
    LICENCE_NOT_ACCEPTED = "licence_not_accepted"
    WRONG_ID = "wrong_id"
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Why a variant is not run: what there is, what it needs, and the next step."""

    code: SkipCode
    have: str
    need: str
    fix: str

    def __post_init__(self) -> None:
        # What drivers and libraries say ends as a sentence, and stands within one here: "mismatch., needs".
        for name in ("have", "need"):
            words: str = getattr(self, name)
            if words.endswith(".") and not words.endswith(".."):
                object.__setattr__(self, name, words[:-1])

    def __str__(self) -> str:
        return f"skip[{self.code}]: has {self.have}, needs {self.need}; fix: {self.fix}"

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Read back what `str` gave; None for any other text."""
        match = _TEXT.fullmatch(text)
        if match is None or match["code"] not in set(SkipCode):
            return None
        return cls(code=SkipCode(match["code"]), have=match["have"], need=match["need"], fix=match["fix"])
