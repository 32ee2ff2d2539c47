"""Reads the marks from markers.ini, the only place where they are declared.

pytest does not read that file by itself, and the catalogue must not use a tier, a family or a selection that `-m` does
not know; so both get the marks from here. The sections of the file say what a mark is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll.errors import CatalogueError, Fault, reason_of
from plimsoll.suite import suite_root

_SECTION: Final = re.compile(r"\[(?P<name>[a-z][a-z0-9 _-]*)\]")
_MARK: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*)(?P<arguments>\([^()]*\))?:\s*(?P<description>\S.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One mark. `arguments` is `(metric, ...)` as written, or empty."""

    name: str
    arguments: str
    description: str
    section: str

    @property
    def line(self) -> str:
        """The line that pytest registers: `only(kind): what it does`."""
        return f"{self.name}{self.arguments}: {self.description}"


class Marks(Mapping[str, str]):
    """Name -> description of every mark, in the order of the file, with their sections."""

    __slots__ = ("_declared",)

    def __init__(self, declared: Mapping[str, Mark]) -> None:
        self._declared = dict(declared)

    def __getitem__(self, name: str) -> str:
        return self._declared[name].description

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    @property
    def lines(self) -> tuple[str, ...]:
        """What pytest registers, a line for each mark."""
        return tuple(mark.line for mark in self._declared.values())

    @property
    def selections(self) -> tuple[str, ...]:
        """The marks that an entry of the catalogue may list in `marks`.

        Not those with arguments, which steer the suite, and not the subjects: `-m load` would select all tests of a
        variant marked `load`.
        """
        return tuple(mark.name for mark in self._declared.values() if not mark.arguments and mark.section != "subjects")

    def section(self, name: str) -> tuple[str, ...]:
        """The names in one section; empty where the file has no such section."""
        return tuple(mark.name for mark in self._declared.values() if mark.section == name)


def read_marks(path: Path) -> Marks:
    """Read markers.ini; raises CatalogueError with all its faults, each with the line it is on."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        fault = Fault(where=str(path), what=f"cannot be read: {reason_of(error)}", fix="the marks are declared there")
        raise CatalogueError([fault]) from None
    except UnicodeDecodeError as error:
        raise CatalogueError([Fault(where=str(path), what=f"is not UTF-8: {error.reason}")]) from None
    declared: dict[str, Mark] = {}
    faults: list[Fault] = []
    section = ""
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        where = f"{path}: line {number}"
        if not line or line.startswith("#"):
            continue
        if heading := _SECTION.fullmatch(line):
            section = heading["name"]
        elif not (match := _MARK.fullmatch(line)):
            faults.append(Fault(where=where, what=f"{line!r} is not a mark", fix="write 'name: what it selects'"))
        elif not section:
            faults.append(Fault(where=where, what=f"mark '{match['name']}' stands before the first [section]"))
        elif match["name"] in declared:
            faults.append(Fault(where=where, what=f"mark '{match['name']}' is declared twice"))
        else:
            declared[match["name"]] = Mark(
                name=match["name"],
                arguments=match["arguments"] or "",
                description=match["description"],
                section=section,
            )
    if faults:
        raise CatalogueError(faults)
    return Marks(declared)


def read_mark_lines(path: Path) -> tuple[str, ...]:
    """The lines that pytest registers, from markers.ini; raises CatalogueError as `read_marks` does."""
    return read_marks(path).lines


def suite_marks() -> Marks | None:
    """The marks of the suite; None where only the library is here. Raises CatalogueError."""
    root = suite_root()
    return None if root is None else read_marks(root / "markers.ini")
