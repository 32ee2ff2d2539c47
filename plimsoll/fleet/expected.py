"""Which nodes must have left evidence: a node that left none is missed only where somebody expects it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.fleet.names import expanded
from plimsoll.present.foreign_text import one_line
from plimsoll.usertoml.reading import read_file

_EXAMPLE: Final = "a line is a node's name, or a list such as gpu[01-16], and may name its number of GPUs: gpu07 4"
_MOST_GPUS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Nodes by name, or only how many there are."""

    names: tuple[str, ...] = ()
    count: int | None = None
    gpus: Mapping[str, int] = field(default_factory=dict)
    """Name -> how many GPUs it has, where that is said."""

    @property
    def total(self) -> int | None:
        """How many nodes there must be; None where nobody said."""
        return len(self.names) if self.names else self.count

    def missing(self, present: Collection[str]) -> tuple[str, ...]:
        """The expected names that are not among these; of a count, one text that says how many are missing."""
        if self.names:
            return tuple(name for name in self.names if name not in present)
        lack = 0 if self.count is None else self.count - len(present)
        return () if lack <= 0 else (f"{lack} of {self.count} expected",)

    def surplus(self, present: Iterable[str]) -> tuple[str, ...]:
        """The names that nobody expects; none where nodes are not expected by name."""
        return tuple(name for name in present if name not in self.names) if self.names else ()


def read_expected(text: str | None) -> Expected:
    """What `--expect-nodes` says: a number, or a file with names. Raises PlimsollError for a file with faults."""
    if text is None:
        return Expected()
    if text.isdecimal():
        if int(text) == 0:
            raise PlimsollError("--expect-nodes 0: a fleet has a node at least")
        return Expected(count=int(text))
    path = Path(text)
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = reason_of(error) if isinstance(error, OSError) else "it is no text in UTF-8"
        raise PlimsollError(
            f"--expect-nodes {text}: it is no number, and no file that can be read ({why}); {_EXAMPLE}"
        ) from None
    names: dict[str, None] = {}
    gpus: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if words:
            _add(words, f"{text}: line {number}", names, gpus)
    if not names:
        raise PlimsollError(f"--expect-nodes {text}: it names no node; {_EXAMPLE}")
    return Expected(names=tuple(names), gpus=gpus)


def _add(words: list[str], where: str, names: dict[str, None], gpus: dict[str, int]) -> None:
    if len(words) > 2 or (len(words) == 2 and not words[1].isdecimal()) or (len(words) == 2 and len(words[1]) > 4):
        raise PlimsollError(f"--expect-nodes {where}: {one_line(' '.join(words), 80)!r}; {_EXAMPLE}")
    try:
        found = expanded(words[0])
    except ValueError as error:
        raise PlimsollError(f"--expect-nodes {where}: {error}; {_EXAMPLE}") from None
    for name in found:
        if name in names:
            raise PlimsollError(f"--expect-nodes {where}: {name} stands there twice; each node counts once")
        names[name] = None
        if len(words) == 2:
            if int(words[1]) > _MOST_GPUS:
                raise PlimsollError(f"--expect-nodes {where}: {words[1]} GPUs in one node; {_EXAMPLE}")
            gpus[name] = int(words[1])
