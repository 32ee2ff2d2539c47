"""Skips as values: why a variant is not run, and what to do about it.

Apart from the gate, which alone decides, so that what the Hub refuses can be put into words beside the questions that
it was asked.
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
    """What the entry asks of its architecture, that has no such thing on any machine."""
    WEIGHTS = "weights"
    """The entry has no weights of the source that was asked for."""
    DATA = "data"
    """The dataset has nothing of the source that was asked for."""
    REGISTRATION = "registration"
    """The data is given to registered people alone."""
    PACKED = "packed"
    """The weights were saved packed, so there are none in 16 bit to compare with."""
    BUSY = "busy"
    """A deadline was missed for want of processor time, which says nothing of the model."""
    NO_FLOOR = "no_floor"
    """A speed was measured, and nobody says how high it must be for this product."""
    PAGE_CACHE = "page_cache"
    """The page cache cannot be brought into the state that a figure is named by."""
    COUNTER = "counter"
    """A counter of a GPU's health could not be read, which says nothing of the GPU."""
    OFFLINE = "offline"
    NOT_LOGGED_IN = "not_logged_in"
    LICENCE_NOT_ACCEPTED = "licence_not_accepted"
    WRONG_ID = "wrong_id"
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """The variant is not run: what there is, what it takes, and the next step."""

    code: SkipCode
    have: str
    need: str
    fix: str

    def __str__(self) -> str:
        return f"skip[{self.code}]: has {self.have}, needs {self.need}; fix: {self.fix}"

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Read back what `str` gave; None for any other text."""
        match = _TEXT.fullmatch(text)
        if match is None or match["code"] not in set(SkipCode):
            return None
        return cls(code=SkipCode(match["code"]), have=match["have"], need=match["need"], fix=match["fix"])
