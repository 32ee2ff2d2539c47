"""Loads and checks the examples of a split from any source, with the data that evidence must record about them.

Rows of the Hub are fetched in the Hub's own process, so this one imports neither datasets nor an HTTP library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plimsoll.catalogue.entries import Dataset
from plimsoll.dataset.example import Example
from plimsoll.dataset.files import FileError, read_files
from plimsoll.dataset.finding import find_files
from plimsoll.dataset.miniatures import miniature_file
from plimsoll.dataset.rows import RowsRead, read_examples
from plimsoll.dataset.sources import DataSource, Source
from plimsoll.dataset.structure import DatasetError, StructureReport
from plimsoll.gate.hub import refusal_of_dataset
from plimsoll.gate.skip import Skip
from plimsoll.hub.client import OnProgress, fetch_rows
from plimsoll.hub.rows import RowsQuery


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
