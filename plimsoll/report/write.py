"""Writes every report that follows from evidence, each in one step and each for itself.

A reader never sees half a report, and one that cannot be written (a full disk, a folder without permission) takes none
of the others with it. The summary of a step in GitHub Actions, which a reader of a job sees before any log, is
appended to the file that GitHub names; what goes wrong there is told and changes nothing: a page for readers is no part
of a verdict.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.record import RunRecord
from plimsoll.present.markdown import document_text
from plimsoll.report.ctrf import CTRF_FILE, ctrf_text
from plimsoll.report.document import verdict_document
from plimsoll.report.reader import Reader
from plimsoll.report.results import benchmark_text, results_text
from plimsoll.userpath import is_no_file
from plimsoll.verdict.verdict import Verdict

RESULTS_FILE: Final = "results.json"
SUMMARY_FILE: Final = "summary.md"
BENCHMARK_FILE: Final = "benchmark.json"

VARIABLE: Final = "GITHUB_STEP_SUMMARY"
LARGEST: Final = 2**20
"""Bytes of one step's summary, by GitHub's documentation, which drops a larger one as a whole."""

_CUT: Final = "\n\nCut here, for a step's summary holds 1 MiB; the whole is in {whole}.\n"


def summary_text(record: RunRecord, verdict: Verdict) -> str:
    """summary.md: the run for people, in Markdown that a mail, a pull request and a terminal all show well."""
    return document_text(verdict_document(record, verdict, Reader.SUMMARY))


def short_summary_text(record: RunRecord, verdict: Verdict) -> str:
    """The same where a glance must do: a failure is a row, a gap is a row with the command that closes it."""
    return document_text(verdict_document(record, verdict, Reader.STEP))


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
    return _written(texts, folder)


def write_ctrf(record: RunRecord, verdict: Verdict, folder: Path) -> list[str]:
    """Write ctrf.json likewise: only who asks for it has it."""
    return _written([(CTRF_FILE, lambda: ctrf_text(record, verdict))], folder)


def _written(texts: Sequence[tuple[str, Callable[[], str]]], folder: Path) -> list[str]:
    problems = []
    for name, text in texts:
        try:
            write_atomically(folder / name, text())
        except OSError as error:
            problems.append(f"{folder / name} could not be written ({reason_of(error)})")
    return problems


def write_output(path: Path, text: str) -> None:
    """Write a text to where a user wants it: into a device, a pipe or an open stream, which stays what it is, else a
    file in one step. Raises OSError."""
    if is_no_file(path):
        # Behind what an open stream has already, which may be a file that others write too.
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            stream.write(text)
    else:
        write_atomically(path, text)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in UTF-8 so that `path` is the old file or the whole new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if (path.is_char_device() or path.is_fifo()) and not path.is_symlink():
        raise OSError(errno.EINVAL, "it is no file, but a device or a pipe", str(path))
    try:
        temporary.unlink(missing_ok=True)
        # Made anew: a run folder may come from anybody, with a link of that name in it.
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def step_summary(environment: Mapping[str, str] | None = None) -> Path | None:
    """The file that GitHub Actions reads; None outside of it."""
    named = (os.environ if environment is None else environment).get(VARIABLE)
    return Path(named) if named else None


def required_step_summary() -> Path:
    """The same, for who asks for it. Raises PlimsollError outside of GitHub Actions."""
    path = step_summary()
    if path is None:
        raise PlimsollError(f"--step-summary: {VARIABLE} is not set, as it is in a job of GitHub Actions; leave it out")
    return path


def append_step_summary(path: Path, text: str, whole: str) -> str | None:
    """Append the text, cut where the file would grow too large; `whole` names where all of it is.

    Returns a line that says what went wrong, None where all is well.
    """
    try:
        with path.open("ab") as file:
            # After what other commands of the step have written, which may not end its last line.
            before = file.tell()
            file.write(fitting("\n" * 2 * bool(before) + text, LARGEST - before, whole))
    except OSError as error:
        return f"warning: the step summary {path} could not be written ({reason_of(error)})"
    return None


def fitting(text: str, room: int, whole: str) -> bytes:
    """As many whole lines of the text as fit into `room` bytes of UTF-8, and a sentence where that is not all; nothing
    where not even the sentence fits."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= room:
        return data
    sentence = _CUT.format(whole=whole).encode("utf-8", "backslashreplace")
    if len(sentence) > room:
        return b""
    return data[: data.rfind(b"\n", 0, room - len(sentence) + 1) + 1] + sentence
