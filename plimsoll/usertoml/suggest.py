"""Finds the nearest known name for a typo, with which every message about an unknown name ends."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_LONGEST_WORD: Final = 100  # comparing is quadratic, and no known name is this long
_LISTED: Final = 12
_NOTHING_TO_GUESS: Final = 2  # 'gpu' looks like 'cpu' and means 'cuda': of so few names, better list all


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `word`, upper and lower case alike; None when nothing comes near."""
    if len(word) > _LONGEST_WORD:
        return None
    by_folded = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'tiny'?`; `known: tiny, gpu1b, ...` when nothing comes near; empty when nothing is known."""
    names = list(dict.fromkeys(known))
    near = nearest(word, names) if len(names) > _NOTHING_TO_GUESS else None
    if near is not None:
        return f"did you mean '{near}'?"
    if not names:
        return ""
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"known: {', '.join(names[:_LISTED])}{more}"
