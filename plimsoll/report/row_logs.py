"""How much of each row's log a page can hold: a page that a browser cannot open helps nobody.

A run in which everything fails can have a thousand long tracebacks. The short logs stay whole, and the long ones share
what room is left; the evidence has all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

ROOM: Final = 800_000
"""Characters that the logs of all rows may take together."""
_LEAST: Final = 400
"""Characters that each log may have, however many there are."""
_CUT_OFF: Final = re.compile(r"(?:&[#\w]{0,10}|<[^>]*)\Z")
"""The beginning of an entity or of a tag at the end of a cut text."""
_REST: Final = "\n… cut short here; evidence.jsonl has the whole text"


def longest_log(lengths: Sequence[int], room: int = ROOM) -> int | None:
    """The length at which logs must be cut so that all fit into the room; None where they fit as they are."""
    if sum(lengths) <= room:
        return None
    left = room
    ordered = sorted(lengths)
    for place, length in enumerate(ordered):
        share = left // (len(ordered) - place)
        if length > share:
            return max(share, _LEAST)
        left -= length
    raise AssertionError("unreachable: lengths that fit one by one fit together")


def cut_log(log: str, longest: int) -> str:
    """An escaped log of about so many characters, with a word on what is missing."""
    if len(log) <= longest + len(_REST):
        return log
    return _CUT_OFF.sub("", log[:longest]) + _REST
