"""Loads and checks the examples of a split from any source, with the data that evidence must record about them.

Rows of the Hub are fetched in the Hub's own process, so this one imports neither datasets nor an HTTP library. In a
folder a split is found by the names of the Hub's repositories and of the official releases:
`validation-00000-of-00001.parquet`, `dev-v2.0.json`, `NQ-open.dev.jsonl`, `training12b_new.json`, `12B1_golden.json`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Dataset, DatasetSchema
from plimsoll.dataset.example import DatasetError, Example, StructureReport
from plimsoll.dataset.files import FileError, miniature_file, other_format, read_files
from plimsoll.dataset.rows import RowsRead, read_examples
from plimsoll.dataset.sources import DataSource, Source
from plimsoll.errors import Fault
from plimsoll.gate.hub import refusal_of_dataset
from plimsoll.gate.skip import Skip
from plimsoll.hub.client import OnProgress, fetch_rows
from plimsoll.hub.pointers import first_stand_in
from plimsoll.hub.rows import RowsQuery

SUFFIXES: Final = (".parquet", ".jsonl", ".json")

_NAMES: Final = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "golden"),
    "test": ("test",),
}
"""What a split is called in the names of files, as a word of its own; `golden` is BioASQ's word for its test batches
with answers."""
_WORD: Final = re.compile(r"[a-z]+")
_SHARD: Final = re.compile(r"-\d+-of-\d+$")
_LISTED: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The examples of a split."""

    examples: tuple[Example, ...]
    report: StructureReport
    source: DataSource
    revision: str | None
    """The commit of the Hub's repository; of files `sha256:` and the hash of what they hold."""
    place: str
    """Where they came from, for people."""


def load(
    dataset: Dataset, source: Source, split: str, *, limit: int | None = None, progress: OnProgress | None = None
) -> Loaded | Skip:
    """The examples of a split, or why the Hub will not give them.

    `limit` takes so many rows from the front, for few-shot examples, of which a large split has too many; the size of
    the split is then not checked. `progress` is called while the Hub's files arrive. Raises PlimsollError, mostly a
    DatasetError, where the rows, or the folder they should be in, are not in order, OSError for the disk of the cache.
    """
    if source.kind is DataSource.HUB:
        return _from_hub(dataset, split, limit, progress)
    if source.kind is DataSource.LOCAL and source.path is not None:
        return _from_files(dataset, source.kind, find_files(dataset, source.path, split), split, limit)
    return _from_files(dataset, source.kind, (miniature_file(dataset, split),), split, limit)


def _from_hub(dataset: Dataset, split: str, limit: int | None, progress: OnProgress | None) -> Loaded | Skip:
    if dataset.hub_id is None:
        raise ValueError(f"{dataset.id} has no hub_id, so nothing decided that it comes from the Hub")
    question = RowsQuery(
        repository=dataset.hub_id, config=dataset.config, split=split, revision=dataset.revision, limit=limit
    )
    answer = fetch_rows(question, progress=progress)
    if (skip := refusal_of_dataset(answer.access, dataset)) is not None:
        return skip
    place = f"{dataset.hub_id} at {answer.access.commit}"
    reading = read_examples(dataset, answer.rows, split, published=limit is None, place=place)
    return _loaded(reading, DataSource.HUB, answer.access.commit, place)


def _from_files(dataset: Dataset, kind: DataSource, files: Sequence[Path], split: str, limit: int | None) -> Loaded:
    place = str(files[0]) if len(files) == 1 else f"{len(files)} files in {files[0].parent}"
    try:
        content = read_files(files)
        revision = f"sha256:{_digest(files)}"
    except FileError as error:
        raise DatasetError([error.fault], dataset=dataset.id, split=split) from error
    published = kind is DataSource.LOCAL and limit is None
    reading = read_examples(dataset, content, split, published=published, place=place)
    if limit is not None:
        reading = RowsRead(examples=reading.examples[:limit], report=reading.report)
    return _loaded(reading, kind, revision, place)


def _loaded(reading: RowsRead, kind: DataSource, revision: str | None, place: str) -> Loaded:
    return Loaded(examples=reading.examples, report=reading.report, source=kind, revision=revision, place=place)


def _digest(files: Sequence[Path]) -> str:
    """Of the content alone, whatever the files are called and wherever they lie."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def find_files(dataset: Dataset, path: Path, split: str) -> tuple[Path, ...]:
    """The files that hold a split, in order; the path itself where it is a file and the split is the asked one.

    Raises DatasetError, which lists what is there, where no file or more than one set of files could be meant.
    """
    if path.is_file():
        if split == dataset.split:
            return (path,)
        what = f"is one file, for the split that is asked, {dataset.split}"
        raise _error(dataset, split, path, what, f"name a folder with a file for {split} too")
    if not path.is_dir():
        raise _error(
            dataset, split, path, "does not exist", f"name a folder or a file: --dataset-dir={dataset.id}=PATH"
        )
    there = [file for file in sorted(path.rglob("*")) if file.suffix in SUFFIXES and file.is_file()]
    found = _of_config(dataset, path, [file for file in there if _holds(file, split)])
    # A folder of batches and one of shards hold one split in many files.
    sets = {_set_of(dataset, file) for file in found}
    if len(sets) == 1:
        return tuple(found)
    if not found and (instead := _instead(path, split)) is not None:
        raise _error(dataset, split, path, *instead)
    listed = _list(path, found or there)
    if found:
        raise _error(dataset, split, path, f"has more than one file for it: {listed}", "name the file itself")
    names = ", ".join(f"{name}*" for name in _NAMES.get(split, (split,)))
    what = f"has no file for it among {listed}" if there else f"has no file of {', '.join(SUFFIXES)}{_others(path)}"
    raise _error(dataset, split, path, what, f"name it like one of {names}")


def _instead(path: Path, split: str) -> tuple[str, str] | None:
    """What a folder is in place of one with files of rows, and what makes one of it."""
    linked = [file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_symlink()]
    if (dangling := first_stand_in(linked)) is not None:
        what, _, fix = dangling.partition("; ")
        return f"has no file for it: {what}", fix
    saved = sorted(file.parent for file in path.rglob(_SAVED) if any(file.parent.glob("*.arrow")))
    if saved:
        of_split = next((folder for folder in saved if folder.name == split), saved[0])
        rows = f"datasets.load_from_disk({str(of_split)!r}).to_parquet('{split}.parquet')"
        return (
            "is what save_to_disk of the library datasets wrote, in a format of its own",
            f'write the rows as parquet, and name that file or its folder: python -c "import datasets; {rows}"',
        )
    others = [file for file in sorted(path.rglob("*")) if file.suffix not in SUFFIXES and file.is_file()]
    # A packed release of all splits has a name of its own.
    for file in [f for f in others if _holds(f, split)] + others:
        if (instead := other_format(file)) is not None:
            what, fix = instead
            return f"has no file for it that can be read: {file.relative_to(path).as_posix()!r} {what}", fix
    return None


_SAVED: Final = "state.json"
"""Beside the Arrow files of each dataset that `save_to_disk` wrote."""


def _others(path: Path) -> str:
    """The files that are there, where none is of a format that can be read."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return f", but {_list(path, files)}" if files else ""


def _holds(file: Path, split: str) -> bool:
    words = re.split(r"[^a-z0-9]+", file.stem.lower())
    first = {match[0] for word in words if (match := _WORD.match(word))}
    return bool(first & set(_NAMES.get(split, (split.lower(),))))


def _of_config(dataset: Dataset, path: Path, files: Sequence[Path]) -> list[Path]:
    """Of a whole repository, those of the configuration: they lie in a folder of its name."""
    of_it = [file for file in files if dataset.config in file.relative_to(path).parts]
    return of_it or list(files)


def _set_of(dataset: Dataset, file: Path) -> tuple[Path, str]:
    if dataset.schema is DatasetSchema.BIOASQ and "golden" in file.stem.lower():
        return file.parent, "golden"
    return file.parent, _SHARD.sub("", file.stem) + file.suffix


def _list(path: Path, files: Sequence[Path]) -> str:
    names = [repr(file.relative_to(path).as_posix())[1:-1] for file in files]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _error(dataset: Dataset, split: str, path: Path, what: str, fix: str) -> DatasetError:
    return DatasetError([Fault(where=str(path), what=what, fix=fix)], dataset=dataset.id, split=split)
