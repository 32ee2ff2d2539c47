"""Finds the files of a split in a folder, by the names of the Hub's repositories and of the official releases.

`validation-00000-of-00001.parquet`, `dev-v2.0.json`, `NQ-open.dev.jsonl`, `training12b_new.json`, `12B1_golden.json`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Dataset, DatasetSchema
from plimsoll.dataset.structure import DatasetError
from plimsoll.errors import Fault
from plimsoll.hub.pointers import first_stand_in

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
