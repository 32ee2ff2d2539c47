"""Finds what a user names on the command line (a run, a file, a baseline) and reads it as a side."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from plimsoll.compare.baselines import find_baseline
from plimsoll.compare.benchmark_file import read_benchmark_file
from plimsoll.compare.run_side import read_run_side
from plimsoll.compare.side import Side
from plimsoll.evidence.reader import EVIDENCE_FILE
from plimsoll.evidence.run_folder import find_run
from plimsoll.userpath import is_there

BASELINE: Final = "baseline:"
"""What stands before the name of a baseline."""
_TIMINGS: Final = "benchmark.json"
"""What pytest-benchmark writes, and a run beside its evidence."""


def find_source(name: str, reports: Path) -> Path:
    """The folder or file that a name means: a path, `latest`, the id of a run under `reports`, or `baseline:NAME`.

    Raises PlimsollError where there is none, or where the name of a baseline fits more than one.
    """
    if name.startswith(BASELINE):
        return find_baseline(name.removeprefix(BASELINE), reports)
    if (path := Path(name)).name == _TIMINGS and is_there(path):
        return path
    return find_run(name, reports)


def read_side(path: Path, *, allow_damaged: bool = False) -> Side:
    """The side that a run folder, an evidence file or a file of pytest-benchmark holds.

    Raises PlimsollError for what cannot be read or does not add up; damaged evidence is read as far as it goes with
    `allow_damaged`.
    """
    if path.is_file() and path.suffix == ".json":
        return read_benchmark_file(path)
    if path.is_dir() and not (path / EVIDENCE_FILE).exists() and (path / _TIMINGS).is_file():
        return read_benchmark_file(path / _TIMINGS)
    return read_run_side(path, allow_damaged=allow_damaged)
