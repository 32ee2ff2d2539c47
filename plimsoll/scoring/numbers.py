"""The number that a text comes to: `42`, `$1,200.50`, `The answer is 7 apples`, `5 + 2 = 7`, `1 1/2`.

Models that were asked for a number reason aloud, name the unit or write the whole sum. The rule here is the usual one
of such evaluations: what is announced as the answer counts, else the last number of the text.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_NUMBER: Final = re.compile(
    r"""
    (?P<minus>(?<![\w.)])[-−])?       # `10-3` subtracts, and so has no -3
    (?:[$€£][ ]?)?
    (?: (?P<over>\d+)/(?P<under>\d+)                                  # 3/4
      | (?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)                       # 1,200 or 1200 ...
        (?: [ ](?P<top>\d+)/(?P<bottom>\d+) | (?P<decimals>\.\d+) )?  # ... with 1/2 after a blank, or .50
      | (?P<bare>\.\d+) )                                             # .5
    """,
    re.VERBOSE | re.ASCII,
)
_ANNOUNCED: Final = re.compile(r"####|=|\banswer(?:\s+is\b|\s*:)", re.IGNORECASE)
_TOLERANCE: Final = Fraction(1, 10**4)
"""Enough for a third that is written 0.3333, and too little for any two answers of a problem in whole numbers."""
_LONGEST: Final = 4000
"""Characters from the end that are looked at: nobody answers with more, and Python refuses longer numbers."""


def number_in(text: str) -> Fraction | None:
    """The number that a text comes to; None where there is none.

    The first number after the last of `####`, `=`, `answer is` and `answer:` where there is one, else the last number
    of all. Thousands may be set off by commas; currency and percent signs are ignored; `3/4` and `1 1/2` are read.
    """
    text = text[-_LONGEST:]
    announced = [match.end() for match in _ANNOUNCED.finditer(text)]
    if announced and (match := _NUMBER.search(text, announced[-1])):
        return _value(match)
    numbers = list(_NUMBER.finditer(text))
    return _value(numbers[-1]) if numbers else None


def same_number(answer: str, gold: str) -> bool:
    """True where both texts come to the same number, to 0.0001."""
    said, wanted = number_in(answer), number_in(gold)
    return said is not None and wanted is not None and abs(said - wanted) <= _TOLERANCE


def _value(match: re.Match[str]) -> Fraction | None:
    over, under, whole, top, bottom = (match[name] for name in ("over", "under", "whole", "top", "bottom"))
    if int(under or 1) == 0 or int(bottom or 1) == 0:
        return None
    if over is not None:
        value = Fraction(int(over), int(under))
    else:
        value = Fraction((whole or "0").replace(",", "") + (match["decimals"] or match["bare"] or ""))
        value += Fraction(int(top), int(bottom)) if top is not None else 0
    return -value if match["minus"] else value
