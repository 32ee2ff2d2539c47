"""Writes every report that follows from evidence, each in one step and each for itself.

A reader never sees half a report, and one that cannot be written (a full disk, a folder without permission) takes none
of the others with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.report.benchmark_file import benchmark_text
from plimsoll.report.results import results_text
from plimsoll.report.summary import summary_text
from plimsoll.verdict.verdict import Verdict

RESULTS_FILE: Final = "results.json"
SUMMARY_FILE: Final = "summary.md"
BENCHMARK_FILE: Final = "benchmark.json"


def write_reports(record: RunRecord, verdict: Verdict, folder: Path) -> list[str]:
    """Write results.json, summary.md and, where anything was timed, benchmark.json into an existing folder.

    Returns a line for each that could not be written; none where all are there.
    """
    texts: list[tuple[str, Callable[[], str]]] = [
        (RESULTS_FILE, lambda: results_text(record, verdict)),
        (SUMMARY_FILE, lambda: summary_text(record, verdict)),
    ]
    if record.benchmarks:
        texts.append((BENCHMARK_FILE, lambda: benchmark_text(record)))
    problems = []
    for name, text in texts:
        try:
            write_atomically(folder / name, text())
        except OSError as error:
            problems.append(f"{folder / name} could not be written ({error.strerror or error})")
    return problems


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in UTF-8 so that `path` is the old file or the whole new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
