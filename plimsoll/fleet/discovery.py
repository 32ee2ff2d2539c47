"""Finds the evidence that folders hold, and puts runs together with those that they resume."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import EVIDENCE_FILE, RESUMED_FOLDER, RunStart, run_start
from plimsoll.evidence.run_folder import find_run
from plimsoll.userpath import resolved

_RUN: Final = re.compile(r"\d{8}T\d{6}Z-.+-[0-9a-f]{4}")
"""The name of a run's folder."""
_OF_THE_FILE_SYSTEM: Final = re.compile(r"\..*|lost\+found")
"""Folders that file systems and their servers keep, `.snapshot` with copies of old runs among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The evidence files of a run and of those that it resumes, which are judged as one."""

    paths: tuple[Path, ...]


def find_lineages(names: Sequence[str], reports: Path) -> list[Lineage]:
    """The runs that are named, each with those it resumes, in the order in which they are found.

    A name is a run (folder, evidence file, id, `latest`), or a folder that holds runs at any depth. A run that is found
    twice counts once. Raises PlimsollError where a name leads to no evidence.
    """
    files: dict[Path, None] = {}
    for name in names:
        found = list(_evidence_in(find_run(name, reports)))
        if not found:
            raise PlimsollError(f"no evidence in {name}: neither it nor a folder in it holds {EVIDENCE_FILE}")
        files |= dict.fromkeys(found)
    return _together(list(files))


def _evidence_in(path: Path) -> Iterator[Path]:
    """Evidence files at and below a path. Links are not followed: `latest` would name a run twice.

    The file that should be there is named too where a folder is empty, has the name of a run, or cannot be read: a node
    that left nothing but that is not passed over. What the file system keeps there is.
    """
    if not path.is_dir() or (path / EVIDENCE_FILE).exists():
        yield resolved(path if path.is_file() else path / EVIDENCE_FILE)
        return
    shut: list[str] = []
    run: Path | None = None
    for name, folders, files in os.walk(path, onerror=lambda error: shut.append(str(error.filename))):
        folder = Path(name)
        folders[:] = sorted(each for each in folders if not _OF_THE_FILE_SYSTEM.fullmatch(each))
        if EVIDENCE_FILE in files:
            run = folder
            if RESUMED_FOLDER in folders:
                folders.remove(RESUMED_FOLDER)
            yield resolved(folder / EVIDENCE_FILE)
            continue
        is_within = folder == path or (run is not None and run in folder.parents)
        # A link is nothing that a node left: `latest` stays where its run is gone.
        is_empty = all((folder / name).is_symlink() for name in (*folders, *files))
        if not is_within and (is_empty or _RUN.fullmatch(folder.name)):
            yield resolved(folder / EVIDENCE_FILE)
    yield from (resolved(Path(folder, EVIDENCE_FILE)) for folder in shut)


def _together(files: Sequence[Path]) -> list[Lineage]:
    starts = [run_start(file) for file in files]
    groups = _Groups()
    for file, start in zip(files, starts, strict=True):
        groups.join(file, start)
    return [Lineage(paths=tuple(paths)) for paths in groups.paths()]


class _Groups:
    """Files by the run that they speak of, and runs by those that they resume."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._files: dict[str, list[Path]] = {}

    def join(self, file: Path, start: RunStart) -> None:
        self._files.setdefault(start.run_id, []).append(file)
        if start.resumes is not None:
            self._parent[self._root(start.resumes)] = self._root(start.run_id)

    def _root(self, run_id: str) -> str:
        parent = self._parent.get(run_id, run_id)
        return run_id if parent == run_id else self._root(parent)

    def paths(self) -> list[list[Path]]:
        found: dict[str, list[Path]] = {}
        for run_id, files in self._files.items():
            found.setdefault(self._root(run_id), []).extend(files)
        return list(found.values())
