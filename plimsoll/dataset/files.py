"""Reads files of rows: parquet, JSON Lines, or JSON in any layout; each kind of damage gives one clear fault.

The miniatures are such files: our own questions for each dataset, in its official format, shipped with the catalogue.
Their split that few-shot examples come from holds what the small checkpoints are taught; the split that is asked holds
what is withheld from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Final

from plimsoll.catalogue.entries import Dataset
from plimsoll.catalogue.files import shipped_root
from plimsoll.dataset.rows import RowsRead, read_examples
from plimsoll.errors import Fault, PlimsollError, reason_of
from plimsoll.extras import install_command
from plimsoll.hub.pointers import stand_in

_PACKED: Final = (
    (b"\x1f\x8b", "gzip", "gunzip -k"),
    (b"BZh", "bzip2", "bunzip2 -k"),
    (b"\xfd7zXZ\x00", "xz", "unxz -k"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
)
"""The first bytes of packed files, what packed them, and the command that unpacks one."""
_ARCHIVE: Final = b"PK\x03\x04"
_ARROW: Final = b"ARROW1"
_PAGE: Final = (b"<!doctype", b"<html", b"<?xml")
_TARS: Final = frozenset((".tar", ".tgz", ".tbz2", ".txz"))
_TABLES: Final = frozenset((".csv", ".tsv"))
_LOSES: Final = "rows as parquet, JSON Lines or JSON: a table of text loses lists of answers"


class FileError(PlimsollError):
    """A file that holds no rows that can be read."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


def other_format(path: Path) -> tuple[str, str] | None:
    """What a file is in place of rows that can be read, and the next step; None for any other file, and for one that
    cannot be opened. Its first bytes tell, whatever it is called; a table of text has none, and is told by its name."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:  # the reader of the file reports it
        return None
    suffixes = {suffix.lower() for suffix in path.suffixes}
    if suffixes & _TARS:
        return "is an archive (tar)", f"unpack it, and name the file in it: tar -xf {quote(str(path))}"
    if start.startswith(_ARCHIVE):
        return "is an archive (zip)", f"unpack it, and name the file in it: unzip {quote(str(path))}"
    for first, by, command in _PACKED:
        if start.startswith(first):
            return f"is packed with {by}", f"unpack it: {command} {quote(str(path))}"
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_PAGE):
        return "is a page of a web site and no rows", "download it again, logged in where the site asks for it"
    if start.startswith(_ARROW):
        return "is an Arrow file", "write its rows as parquet: Dataset.from_file(FILE).to_parquet('validation.parquet')"
    if suffixes & _TABLES:
        return "is a table of text", f"name {_LOSES}"
    return None


def read_files(paths: Sequence[Path]) -> Any:
    """The content of a file, or of several that hold one split between them. Raises FileError and PlimsollError."""
    contents = [_read(path) for path in paths]
    if len(contents) == 1:
        return contents[0]
    if all(isinstance(content, dict) for content in contents):
        return _joined_documents(contents)
    return [row for content in contents for row in content]


def _joined_documents(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Batches of an official release, each a document with one list."""
    joined: dict[str, Any] = {}
    for content in contents:
        for key, value in content.items():
            both = isinstance(value, list) and isinstance(joined.get(key), list)
            joined[key] = [*joined[key], *value] if both else value
    return joined


def _read(path: Path) -> Any:
    if (found := stand_in(path)) is not None:
        raise _fault(path, found)
    if (instead := other_format(path)) is not None:
        what, fix = instead
        raise FileError(Fault(where=str(path), what=what, fix=fix))
    try:
        if path.suffix == ".parquet":
            return _parquet(path)
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _fault(path, "is not UTF-8 text") from error
    except OSError as error:
        raise _fault(path, f"cannot be read: {reason_of(error)}") from error
    if path.suffix == ".jsonl":
        return list(_lines(path, text))
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _fault(path, "is nested too deeply to be read") from error
    except ValueError as error:
        # What `to_json` of the library datasets writes is JSON Lines, named .json.
        if text.lstrip().startswith("{") and "\n" in text.strip():
            return list(_lines(path, text))
        raise _fault(path, f"is not valid JSON: {error}") from error


def _lines(path: Path, text: str) -> Iterator[Any]:
    # Not splitlines(): JSON may hold the line separators of Unicode as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _fault(path, f"line {number} is not valid JSON: {error}") from error


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError as error:
        raise PlimsollError(
            f"reading {path.name} needs pyarrow, which is not installed; "
            f"install the extra: {install_command('datasets')}"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            rows: list[dict[str, Any]] = file.read().to_pylist()
    except ArrowException as error:
        raise _fault(path, f"is not valid parquet: {str(error).splitlines()[0]}") from error
    return rows


def _fault(path: Path, what: str) -> FileError:
    return FileError(Fault(where=str(path), what=what))


def miniature_file(dataset: Dataset, split: str) -> Path:
    """The file of a miniature's split; raises PlimsollError where the dataset has no miniature, or it no such split."""
    if dataset.miniature is None:
        raise PlimsollError(f"{dataset.origin}: {dataset.id} has no miniature")
    folder = shipped_root() / "miniatures" / dataset.miniature
    for suffix in ("jsonl", "json"):
        path = folder / f"{split}.{suffix}"
        if path.is_file():
            return path
    raise PlimsollError(f"{dataset.origin}: the miniature of {dataset.id} has no split {split}, in {folder}")


def read_miniature(dataset: Dataset, split: str) -> RowsRead:
    """The examples of a miniature's split; raises PlimsollError where it cannot be read or is not in order."""
    path = miniature_file(dataset, split)
    return read_examples(dataset, read_files([path]), split, place=path.name)
