"""Finds and reads the catalogue's files: bytes, digest, text, TOML, each step with its own fault.

The shipped data lies beside the library in a checkout, and inside it in a wheel, where a top-level `catalogue` would
be anybody's.
"""

from __future__ import annotations

import errno
import hashlib
import re
import stat
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import CatalogueFile
from plimsoll.errors import CatalogueError, Fault

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_LARGEST: Final = 64 * 2**20
"""Bytes of a file that is read."""
_TIERS: Final = "tiers.toml"
_TOML_PLACE: Final = re.compile(r"\s*\(at (?P<place>[^()]+)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """A file that was read: `label` is how messages name it, `data` what the TOML says."""

    label: str
    file: CatalogueFile
    data: dict[str, Any]


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
    """Read the shipped files under `root`, then the user's; what cannot be read becomes a fault.

    A file that is named twice is read once: the command line may repeat what the ini file says.
    """
    documents: list[ParsedFile] = []
    faults: list[Fault] = []
    seen: set[Path] = set()
    for candidate in (*_shipped(root), *map(_given, extra)):
        resolved = candidate.path.resolve()
        if resolved in seen:
            continue
        seen.add(resolved)
        outcome = _read(candidate)
        if isinstance(outcome, Fault):
            faults.append(outcome)
        else:
            documents.append(outcome)
    return documents, faults


def _shipped(root: Path) -> Iterator[_Candidate]:
    """Named alike in a checkout and in a wheel, so that messages and evidence do not depend on the layout."""
    for pattern in ("*.toml", "models/*.toml", "claims/*.toml"):
        for path in sorted(root.glob(pattern)):
            yield _Candidate(path=path, label=f"catalogue/{path.relative_to(root).as_posix()}", shipped=True)


def _given(path: Path) -> _Candidate:
    """Named as the user sees it: from the working directory where it lies below."""
    here = Path.cwd()
    label = path.relative_to(here) if path.is_relative_to(here) else path
    return _Candidate(path=path, label=str(label), shipped=False)


def _read(candidate: _Candidate) -> ParsedFile | Fault:
    label = candidate.label
    try:
        content = read_file(candidate.path)
    except FileNotFoundError:
        return Fault(where=label, what="there is no such file")
    except IsADirectoryError:
        return Fault(where=label, what="is a folder", fix="name the TOML files in it, one by one")
    except OSError as error:
        return Fault(where=label, what=f"cannot be read: {error.strerror}")
    try:
        text = content.decode("utf-8-sig")  # editors on Windows put a mark in front, which TOML allows
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Fault(where=f"{label}: line {line}", what="is not UTF-8 text", fix="save the file as UTF-8")
    try:
        data = tomllib.loads(text)
    except RecursionError:
        return Fault(where=label, what="is nested too deeply to be read")
    except ValueError as error:  # TOMLDecodeError, and what Python says of numbers with thousands of digits
        return _syntax_fault(label, str(error))
    file = CatalogueFile(path=candidate.path, sha256=hashlib.sha256(content).hexdigest(), shipped=candidate.shipped)
    return ParsedFile(label=label, file=file, data=data)


def read_file(path: Path) -> bytes:
    """The bytes of a file that a user wrote. Raises OSError for what is none, too: a pipe would be waited for, a device
    never ends, and nobody writes a file of such a size by hand."""
    found = path.stat()
    if stat.S_ISREG(found.st_mode) and found.st_size > _LARGEST:
        raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, and at most {_LARGEST} are read", str(path))
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "it is no file, but a pipe or a device", str(path))
    return path.read_bytes()


def _syntax_fault(label: str, message: str) -> Fault:
    place = _TOML_PLACE.search(message)
    where = f"{label}: {place['place']}" if place else label
    return Fault(where=where, what=f"is not valid TOML: {_TOML_PLACE.sub('', message)}")
