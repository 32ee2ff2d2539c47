"""Finds and reads the catalogue's files.

The shipped data lies beside the library in a checkout, and inside it in a wheel, where a top-level `catalogue` could
clash with another package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import CatalogueFile
from plimsoll.errors import CatalogueError, Fault
from plimsoll.userpath import resolved
from plimsoll.usertoml.reading import data_of, read_bytes, text_of

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_TIERS: Final = "tiers.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """A file that was read: `label` is its name in messages, `data` its parsed TOML, `text` its source."""

    label: str
    file: CatalogueFile
    data: dict[str, Any]
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    path: Path
    label: str
    shipped: bool


def shipped_root(package: Path = _PACKAGE) -> Path:
    """The folder of the shipped catalogue, for the package in that folder; raises CatalogueError when it is missing."""
    for root in (package / "catalogue" / "shipped", package.parent / "catalogue"):
        if (root / _TIERS).is_file():
            return root
    fault = Fault(
        where=str(package), what="the shipped catalogue is missing from this installation", fix="install plimsoll again"
    )
    raise CatalogueError([fault])


def read_documents(extra: Sequence[Path], root: Path) -> tuple[list[ParsedFile], list[Fault]]:
    """Read the shipped files under `root`, then the user's; a file that cannot be read becomes a fault.

    A file that is named twice is read once: the command line may repeat the ini file.
    """
    documents: list[ParsedFile] = []
    faults: list[Fault] = []
    seen: set[Path] = set()
    for candidate in (*_shipped(root), *map(_given, extra)):
        whole = resolved(candidate.path)
        if whole in seen:
            continue
        seen.add(whole)
        outcome = _read(candidate)
        if isinstance(outcome, Fault):
            faults.append(outcome)
        else:
            documents.append(outcome)
    return documents, faults


def read_shipped(name: str, root: Path) -> ParsedFile:
    """Read one of the shipped files. Raises CatalogueError where it cannot be read."""
    outcome = _read(_Candidate(path=root / name, label=f"catalogue/{name}", shipped=True))
    if isinstance(outcome, Fault):
        raise CatalogueError([outcome])
    return outcome


def _shipped(root: Path) -> Iterator[_Candidate]:
    """A label that is the same in a checkout and in a wheel, so that messages and evidence do not depend on the
    layout."""
    for pattern in ("*.toml", "models/*.toml", "claims/*.toml"):
        for path in sorted(root.glob(pattern)):
            yield _Candidate(path=path, label=f"catalogue/{path.relative_to(root).as_posix()}", shipped=True)


def _given(path: Path) -> _Candidate:
    """A label as the user sees it: relative to the working directory for a file below it."""
    here = Path.cwd()
    label = path.relative_to(here) if path.is_relative_to(here) else path
    return _Candidate(path=path, label=str(label), shipped=False)


@lru_cache(maxsize=64)
def _shipped_data(text: str, label: str) -> dict[str, Any] | Fault:
    """A process that reads the catalogue again, as one that judges several runs does, parses its files once: nothing
    changes what was parsed."""
    return data_of(text, label)


def _read(candidate: _Candidate) -> ParsedFile | Fault:
    label = candidate.label
    content = read_bytes(candidate.path, label)
    if isinstance(content, Fault):
        return content
    text = text_of(content, label)
    parse = _shipped_data if candidate.shipped else data_of
    data = text if isinstance(text, Fault) else parse(text, label)
    if isinstance(data, Fault):
        return data
    file = CatalogueFile(
        path=candidate.path,
        sha256=hashlib.sha256(content).hexdigest(),
        shipped=candidate.shipped,
        judges=set(data) != {"symptom"},
    )
    return ParsedFile(label=label, file=file, data=data, text=str(text))
