"""Phrases: a piece of a message as a person copies it, with holes in braces for what differs from one to the next.

`No module named '{package}'` is found in any line that has the words around the hole, and says what stood in it. A
hole reaches no further than its line. In place of regular expressions, because a table that strangers extend must cost
no more on a long line than on a short one: a phrase is looked for with a few searches from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

_HOLE: Final = re.compile(r"\{(\w*)\}")
_BRACE: Final = re.compile(r"[{}]")
_LEAST: Final = 4
"""Letters and digits that a phrase must have: fewer stand in every text."""
_LONGEST: Final = 300
"""Characters of a phrase, and of what stands in a hole."""


class PhraseError(ValueError):
    """A text that is no phrase; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase, ready to be looked for."""

    pieces: tuple[str, ...]
    """The words between the holes, folded; the first stands before the first hole."""
    holes: tuple[str, ...]
    """The names of the holes; empty for one that nobody asks about."""

    def find(self, line: str) -> Mapping[str, str] | None:
        """What stands in each named hole where the line has the phrase; None where it has not. Upper and lower case are
        alike."""
        folded = line.lower()
        if len(folded) != len(line):  # a few letters have more than one in the other case
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
        """The words before the first hole, folded: a text without them has no line with the phrase."""
        return self.pieces[0]


@cache
def phrase(text: str) -> Phrase:
    """The phrase that a text is. Raises PhraseError for one that begins with a hole, has two of them side by side, a
    brace of its own, several lines or next to no words, or is too long."""
    pieces = _HOLE.split(text)
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
    """The names in braces of a text: holes of a phrase, or places of a sentence that are to be filled."""
    return tuple(name for name in _HOLE.findall(text) if name)


def filled(text: str, values: Mapping[str, object]) -> str | None:
    """A sentence with its places filled; None where a value is wanting."""
    if not all(name in values for name in holes_of(text)):
        return None
    return _HOLE.sub(lambda hole: str(values[hole[1]]) if hole[1] else hole[0], text)
