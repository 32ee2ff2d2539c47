"""Reads the miniatures: our own questions for each dataset, in its official format, shipped with the catalogue.

The split that few-shot examples come from holds what the small checkpoints are taught; the split that is asked holds
what is withheld from them.
"""

from __future__ import annotations

from pathlib import Path

from plimsoll.catalogue.entries import Dataset
from plimsoll.catalogue.files import shipped_root
from plimsoll.dataset.files import read_files
from plimsoll.dataset.rows import RowsRead, read_examples
from plimsoll.errors import PlimsollError


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
