"""Names of nodes: in the order that people expect, and many of them in few characters, as Slurm writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from plimsoll.present.foreign_text import one_line

_DIGITS: Final = re.compile(r"(\d+)")
_NUMBERED: Final = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)", re.DOTALL)
_LIST: Final = re.compile(r"(?P<before>[^\[\]]*)\[(?P<inside>[\d,-]+)\](?P<after>.*)", re.DOTALL)
_OUTSIDE: Final = re.compile(r",(?![^\[\]]*\])")
"""A comma that stands in no brackets."""
_RANGE: Final = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")
MOST_EXPANDED: Final = 100_000
_MOST_BRACKETS: Final = 8


def natural(name: str) -> tuple[tuple[int, str, int], ...]:
    """A key that sorts gpu2 before gpu10."""
    return tuple((1, "", int(part)) if part.isdecimal() else (0, part, 0) for part in _DIGITS.split(name) if part)


def compressed(names: Iterable[str]) -> str:
    """`gpu[01-16,18],login1` for many names, which `scontrol` takes too."""
    groups: dict[tuple[str, int, str], list[str]] = {}
    alone: list[str] = []
    for name in sorted(set(names), key=natural):
        found = _NUMBERED.fullmatch(name)
        if found is None or len(found["number"]) > 15 or not found["number"].isascii():
            alone.append(name)
        else:
            groups.setdefault((found["before"], len(found["number"]), found["after"]), []).append(found["number"])
    texts = [
        f"{before}[{','.join(_ranges(numbers))}]{after}" if len(numbers) > 1 else f"{before}{numbers[0]}{after}"
        for (before, _, after), numbers in groups.items()
    ]
    return ",".join([*texts, *alone])


def expanded(text: str) -> list[str]:
    """The names that `gpu[01-16,18],login1` and `rack[1-2]-gpu[01-04]` stand for, as Slurm writes them; a name without
    brackets and commas stands for itself.

    Raises ValueError for brackets that are no list, and for more names than any fleet has.
    """
    found: list[str] = []
    for part in _OUTSIDE.split(text):
        if not part:
            raise ValueError(f"{one_line(text, 80)!r} has a comma with no name beside it")
        found += _expanded(part, text)
        _refuse_many(len(found), text)
    return found


def _expanded(part: str, text: str) -> list[str]:
    """The names of one list, the first of its brackets first."""
    if "[" not in part and "]" not in part:
        return [part]
    found = _LIST.fullmatch(part)
    if found is None or part.count("[") > _MOST_BRACKETS:
        raise ValueError(f"{one_line(text, 80)!r} is no list of nodes such as gpu[01-16]")
    numbers = _numbers(found["inside"], text)
    ends = _expanded(found["after"], text) if found["after"] else [""]
    _refuse_many(len(numbers) * len(ends), text)
    return [f"{found['before']}{number}{end}" for number in numbers for end in ends]


def _numbers(inside: str, text: str) -> list[str]:
    numbers: list[str] = []
    for part in inside.split(","):
        one = _RANGE.fullmatch(part)
        if one is None or int(one["last"] or one["first"]) < int(one["first"]):
            raise ValueError(f"{one_line(part, 80)!r} in {one_line(text, 80)!r} is no range such as 01-16")
        first, last = int(one["first"]), int(one["last"] or one["first"])
        _refuse_many(last - first + 1, text)
        numbers += [str(number).zfill(len(one["first"])) for number in range(first, last + 1)]
    return numbers


def _refuse_many(count: int, text: str) -> None:
    if count > MOST_EXPANDED:
        raise ValueError(f"{one_line(text, 80)!r} stands for more than {MOST_EXPANDED} nodes")


def _ranges(numbers: list[str]) -> Iterator[str]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if int(number) == int(last) + 1:
            last = number
            continue
        yield first if first == last else f"{first}-{last}"
        first = last = number
    yield first if first == last else f"{first}-{last}"
