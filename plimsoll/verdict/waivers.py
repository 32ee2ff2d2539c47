"""Reads waivers: who accepts a check without a good result, why, and until when.

They are a user's file, apart from catalogue and evidence, because they are decisions of people and not facts about a
machine. A waiver that is expired, misspelt or covers nothing is an error: a reader would believe that somebody had
decided something.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from plimsoll.errors import Fault, PlimsollError
from plimsoll.usertoml.reading import LOOK_LIKE_NOTHING, data_of, read_bytes, shown, text_of, unknown_keys
from plimsoll.usertoml.suggest import did_you_mean

_KEYS: Final = ("cells", "who", "why", "until")
_MOST_BY_PATTERN: Final = 50
"""The most checks that the wildcards of a file may cover: more must be named one by one."""
_COUNTED_AT_A_GLANCE: Final = 5
"""So few checks may all be covered, even if they are the whole plan."""
_LONGEST: Final = timedelta(days=366)
"""How far in the future the last day of a waiver may be."""
_WILDCARDS: Final = re.compile(r"[*?]")
_OF_EVERY_CELL: Final = re.compile(r"acceptance|test|\bpy\b|[^A-Za-z0-9]+")
"""Text that is in the id of every check, and so identifies none."""
_TURNING: Final = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
_EXAMPLE: Final = "a [[waiver]] has `cells`, `who`, `why` and `until`"


class WaiverError(PlimsollError):
    """Every fault of a waiver file, collected and raised once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        plural = "fault" if len(self.faults) == 1 else "faults"
        super().__init__("\n".join([f"{len(self.faults)} {plural} in the waivers:", *(f"  {f}" for f in self.faults)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One decision to accept checks without a good result."""

    cells: str
    """A pattern for the ids of checks: `*` and `?` are wildcards, everything else is literal."""
    who: str
    why: str
    until: date
    """The last day on which it holds, in UTC."""
    where: str
    """File and key path: `waivers.toml: waiver[0]`."""

    def covers(self, cell: str) -> bool:
        """True where the pattern matches the whole id of the cell."""
        # Ids end in a parameter in brackets, which fnmatch would read as a set of characters.
        return fnmatchcase(cell, self.cells.replace("[", "[[]"))

    @property
    def is_pattern(self) -> bool:
        """True where it has wildcards."""
        return _WILDCARDS.search(self.cells) is not None

    def __str__(self) -> str:
        """`waived by J. Rossi until 2026-12-31: the host board is on order`."""
        return f"waived by {self.who} until {self.until}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waivers:
    """The waivers of one file, all of them valid on the day `as_of`."""

    label: str
    """The file's name in messages."""
    text: str
    sha256: str
    as_of: date
    entries: tuple[Waiver, ...]

    def covering(self, cell: str) -> Waiver | None:
        """The first waiver that covers the cell; None where there is none."""
        return next((waiver for waiver in self.entries if waiver.covers(cell)), None)

    def faults_over(self, cells: Iterable[str]) -> tuple[Fault, ...]:
        """The faults of the waivers for these checks: one for each waiver that covers none, and one where wildcards
        cover too many."""
        planned = tuple(dict.fromkeys(cells))
        return (*self._unmatched(planned), *self._uncounted(planned))

    def _uncounted(self, planned: Sequence[str]) -> Iterator[Fault]:
        patterns = [waiver for waiver in self.entries if waiver.is_pattern]
        covered = sum(any(waiver.covers(cell) for waiver in patterns) for cell in planned)
        too_large = covered > _COUNTED_AT_A_GLANCE and 2 * covered > len(planned)
        if covered > _MOST_BY_PATTERN or too_large:
            yield Fault(
                where=", ".join(f"{waiver.where}.cells" for waiver in patterns[:3]) + (", ..." if patterns[3:] else ""),
                what=f"wildcards cover {covered} of {len(planned)} planned checks; they may cover at most half "
                f"of them, and at most {_MOST_BY_PATTERN}",
                fix="name the checks one by one, without wildcards",
            )

    def _unmatched(self, planned: Sequence[str]) -> tuple[Fault, ...]:
        return tuple(
            Fault(
                where=f"{waiver.where}.cells",
                what=f"{waiver.cells!r} covers no planned check",
                fix="correct the pattern, or remove the waiver",
            )
            for waiver in self.entries
            if not any(waiver.covers(cell) for cell in planned)
        )

    def refuse_unmatched(self, cells: Iterable[str]) -> None:
        """Raise WaiverError where a waiver covers none of the cells, or wildcards cover too many."""
        if faults := self.faults_over(cells):
            raise WaiverError(faults)


def read_waivers(path: Path, as_of: date) -> Waivers:
    """Read a waiver file as of a day (UTC). Raises WaiverError with every fault, expired waivers among them.

    Reports name the file without its folder, so that they do not depend on where it was.
    """
    content = read_bytes(path, str(path))
    text = content if isinstance(content, Fault) else text_of(content, str(path))
    if isinstance(text, Fault):
        raise WaiverError([text])
    return parse_waivers(text, path.name, as_of)


def parse_waivers(text: str, label: str, as_of: date) -> Waivers:
    """The waivers that a text holds, as of a day (UTC). Raises WaiverError with every fault."""
    data = data_of(text, label)
    if isinstance(data, Fault):
        raise WaiverError([data])
    faults = [
        Fault(where=label, what=f"unknown table {shown(key)}", fix=did_you_mean(key, ("waiver",)))
        for key in data
        if key != "waiver"
    ]
    tables = data.get("waiver", [])
    if not isinstance(tables, list) or (not tables and not faults):
        faults.append(Fault(where=label, what="holds no waiver", fix=_EXAMPLE))
        tables = []
    for number, table in enumerate(tables):
        faults += _faults(f"{label}: waiver[{number}]", table, as_of)
    if faults:
        raise WaiverError(faults)
    return Waivers(
        label=label,
        text=text,
        sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(),
        as_of=as_of,
        entries=tuple(Waiver(**table, where=f"{label}: waiver[{number}]") for number, table in enumerate(tables)),
    )


def _faults(where: str, table: object, as_of: date) -> list[Fault]:
    if not isinstance(table, dict):
        return [Fault(where=where, what="is not a table", fix=_EXAMPLE)]
    faults = list(unknown_keys(where, table, _KEYS))
    faults += [fault for key in ("cells", "who", "why") if (fault := _text_fault(where, key, table)) is not None]
    cells = table.get("cells")
    if isinstance(cells, str) and _WILDCARDS.search(cells) and len(_OF_EVERY_CELL.sub("", cells)) < 2:
        what = f"{cells!r} waives whatever was asked"
        faults.append(Fault(where=f"{where}.cells", what=what, fix="name the check or the variant that is waived"))
    until = _until_fault(f"{where}.until", table, as_of)
    return [*faults, *([until] if until else [])]


def _text_fault(where: str, key: str, table: Mapping[str, Any]) -> Fault | None:
    if key not in table:
        return Fault(where=f"{where}.{key}", what="is missing", fix=_EXAMPLE)
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        return Fault(where=f"{where}.{key}", what=f"must be a text, not {shown(value)}")
    if key != "cells" and not _is_visible(value):
        what = f"holds nothing that a reader sees, or characters that hide what stands there: {value!a}"
        return Fault(where=f"{where}.{key}", what=what, fix="write it in plain letters")
    return None


def _is_visible(text: str) -> bool:
    """True for a text with letters or digits, and without characters that reverse, hide or break what is shown. Joiners
    are allowed, as some scripts need them."""
    hiding = any(
        (unicodedata.category(c) == "Cc" and c not in "\n\t") or unicodedata.bidirectional(c) in _TURNING for c in text
    )
    return not hiding and any(c.isalnum() and c not in LOOK_LIKE_NOTHING for c in text)


def _until_fault(where: str, table: Mapping[str, Any], as_of: date) -> Fault | None:
    if "until" not in table:
        return Fault(where=where, what="is missing", fix="a waiver has an end: until = 2026-12-31")
    until = table["until"]
    if type(until) is not date:  # a datetime is a subclass, and its time zone would be unclear
        return Fault(
            where=where, what=f"must be a date, not {shown(until)}", fix="write until = 2026-12-31, without quotes"
        )
    if until < as_of:
        return Fault(
            where=where,
            what=f"expired: {until} is before {as_of}",
            fix="remove the waiver, or let whoever answers for it set a new date",
        )
    if until - as_of > _LONGEST:
        return Fault(
            where=where,
            what=f"{until} is more than a year after {as_of}",
            fix="set a day within a year; whoever answers for it can renew it then",
        )
    return None
