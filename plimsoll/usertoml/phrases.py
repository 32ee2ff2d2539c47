"""Finds phrases in text. A phrase is a piece of a message as a person copies it, with holes in braces for what varies.

`No module named '{package}'` is found in any line with the words around the hole, and gives the text in the hole. A
hole ends with its line. Phrases replace regular expressions because others extend the table, and a bad expression can
take exponential time on a long line: a phrase takes a few searches from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

HOLE: Final = re.compile(r"\{(\w*)\}")
_BRACE: Final = re.compile(r"[{}]")
_LEAST: Final = 4
"""Letters and digits that a phrase must have: fewer would match almost every text."""
_LONGEST: Final = 300
"""The most characters of a phrase, and of the text in a hole."""


class PhraseError(ValueError):
    """A text that is not a valid phrase; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase, ready for searching."""

    pieces: tuple[str, ...]
    """The words between the holes, case-folded; the first stand before the first hole."""
    holes: tuple[str, ...]
    """The names of the holes; empty for an unnamed one."""

    def find(self, line: str) -> Mapping[str, str] | None:
        """The text in each named hole where the line has the phrase; None where it has not. Case does not matter."""
        folded = line.lower()
        if len(folded) != len(line):  # a few letters become several in the other case
            line = folded
        first = self.pieces[0]
        start = folded.find(first)
        if start < 0:
            return None
        found: dict[str, str] = {}
        at = start + len(first)
        for name, piece in zip(self.holes, self.pieces[1:], strict=True):
            end = folded.find(piece, at) if piece else len(line)
            if end < 0:
                return None
            if name:
                found[name] = line[at:end].strip()[:_LONGEST]
            at = end + len(piece)
        return found

    @property
    def opening(self) -> str:
        """The words before the first hole, case-folded: a text without them cannot have the phrase."""
        return self.pieces[0]


@cache
def phrase(text: str) -> Phrase:
    """Parse a phrase. Raises PhraseError for a text that begins with a hole, has two holes side by side, a stray brace,
    several lines or almost no words, or is too long."""
    pieces = HOLE.split(text)
    words, holes = pieces[::2], pieces[1::2]
    if len(text) > _LONGEST:
        raise PhraseError(f"has {len(text)} characters, and at most {_LONGEST} are looked for")
    if "\n" in text:
        raise PhraseError("has several lines, and each line is looked at by itself")
    if any(_BRACE.search(word) for word in words):
        raise PhraseError("has a brace that is no hole: write {name}, or {} for what nobody asks about")
    if not words[0].strip():
        raise PhraseError("begins with a hole: begin with words")
    if not all(words[:-1]):
        raise PhraseError("has two holes side by side")
    if sum(character.isalnum() for word in words for character in word) < _LEAST:
        raise PhraseError(f"has fewer than {_LEAST} letters and digits beside its holes, which stand in every text")
    return Phrase(pieces=tuple(word.lower() for word in words), holes=tuple(holes))


def holes_of(text: str) -> tuple[str, ...]:
    """The names in braces of a text: the holes of a phrase, or the gaps of a sentence to be filled."""
    return tuple(name for name in HOLE.findall(text) if name)


def filled(text: str, values: Mapping[str, object]) -> str | None:
    """A sentence with its gaps filled; None where a value is missing."""
    if not all(name in values for name in holes_of(text)):
        return None
    return HOLE.sub(lambda hole: str(values[hole[1]]) if hole[1] else hole[0], text)
