"""Reads evidence back into a `RunRecord`, whatever state a killed run, a full disk or a second writer left it in.

Nothing is silently ignored: each unreadable line, each missing number and each contradiction is a fault of the record,
and a record with faults is never accepted. Evidence of one run may lie in several files (workers, a second file beside
a full disk), and one record may come from several runs.
"""

from __future__ import annotations

import errno
import filecmp
import glob
import hashlib
import json
import math
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.chain import is_whole
from plimsoll.evidence.collector import Collector
from plimsoll.evidence.merge import merge_records
from plimsoll.evidence.record import EvidenceFile, RunRecord
from plimsoll.evidence.writer import RESCUED, fallback_path
from plimsoll.present.foreign_text import one_line
from plimsoll.userpath import resolved

EVIDENCE_FILE: Final = "evidence.jsonl"
"""The name of the evidence in a run folder."""
RESUMED_FOLDER: Final = "resumed"
"""The folder in a run folder with the evidence of the runs that it resumes, each `<run-id>.jsonl`."""

_DAMAGE: Final = (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError)
"""The exceptions that an invalid line raises."""
_MOST_DIGITS: Final = 30
"""The most digits of a whole number: bytes, tokens and identifiers have at most 20, and some consumers convert them to
floats."""
_LONGEST_LINE: Final = 64 * 2**20
"""The most bytes of a line. The longest line of a run is its plan, with some 300 bytes for each check."""
_LONGEST_PATH: Final = 1000
_SECOND_FILE: Final = re.compile(rf"plimsoll-(?P<run>.+)-(main|gw\d+)({RESCUED})?\.jsonl")


def read_run(run: Path, unwritten: Iterable[bytes] = (), *, alone: bool = False) -> RunRecord:
    """The record of a run folder or an evidence file, with the runs that it resumes.

    Lines that the folder could not take are read from the writer's second file where it is still there, and from
    `unwritten` (see EvidenceWriter). `alone` reads only what lies in the run folder, for evidence that was moved.
    Raises PlimsollError where there is no evidence, or a newer Plimsoll wrote it.
    """
    return read_runs([run], unwritten, alone=alone)


def read_runs(runs: Sequence[Path], unwritten: Iterable[bytes] = (), *, alone: bool = False) -> RunRecord:
    """The record of several run folders or evidence files as one; files of the same run are read as one run.

    `unwritten` belongs to the first. Raises PlimsollError where one of them holds no evidence.
    """
    groups: dict[str, list[Path]] = {}
    for path in map(_evidence_path, runs):
        for file in (path, *sorted((path.parent / RESUMED_FOLDER).glob("*.jsonl"))):
            files = groups.setdefault(run_start(file).run_id, [])
            if not any(_is_same(file, known) for known in files):
                files.append(file)
    records = []
    for number, files in enumerate(groups.values()):
        records.append(_read_files(files, unwritten if number == 0 else (), alone=alone))
    return merge_records(records)


def _evidence_path(run: Path) -> Path:
    """The path of the evidence. A link that the user names is followed; a link inside a run folder is not."""
    if run.is_file() or run.suffix == ".jsonl":
        return resolved(run) if run.is_symlink() else run
    return run / EVIDENCE_FILE


def _is_same(file: Path, known: Path) -> bool:
    """True for the same file, and for the copy that a resuming run made of it."""
    with suppress(OSError):
        return file.samefile(known) or (file.is_file() and known.is_file() and filecmp.cmp(file, known, shallow=False))
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """The run of a file, and the run that it resumes, by the file's first line."""

    run_id: str
    resumes: str | None = None


def run_start(path: Path) -> RunStart:
    """The run of an evidence file, by its first line, or by its name where that cannot be read."""
    with suppress(OSError, ValueError, TypeError, RecursionError), _open(path) as file:
        first = _parse(file.readline(_LONGEST_LINE))
        if first.get("event") == "run" and isinstance(first.get("run_id"), str):
            resumes = first.get("resumes")
            earlier = resumes.get("run_id") if isinstance(resumes, dict) else None
            return RunStart(run_id=str(first["run_id"]), resumes=None if earlier is None else str(earlier))
    if path.parent.name == RESUMED_FOLDER:
        return RunStart(run_id=path.stem)
    second = _SECOND_FILE.fullmatch(path.name)
    return RunStart(run_id=resolved(path).parent.name if second is None else second["run"])


def _read_files(files: Sequence[Path], unwritten: Iterable[bytes], *, alone: bool) -> RunRecord:
    """One run from the files that hold its evidence; the first one's folder is the run's."""
    path = files[0]
    collector = Collector()
    read = []
    for file in files:
        try:
            read.append(_read(file, collector))
        except OSError as error:
            collector.faults.append(f"{_named(file)} cannot be read ({reason_of(error)})")
    for fallback in () if alone or path.parent.name == RESUMED_FOLDER else _fallbacks(path):
        read.append(_read(fallback, collector))
        second = shlex.quote(str(fallback))
        collector.faults.append(
            f"part of the evidence is not in the run folder but in {fallback}; "
            f"once there is room: cat {second} >> {shlex.quote(str(path))} && rm {second}"
        )
    collector.begin("memory")
    if lost := sum(collector.add(_parse(line), is_whole(line)) for line in unwritten):
        collector.faults.append(f"{lost} events are in memory only: neither the run folder nor a second file took them")
    if not collector.events:
        nothing = "it is empty: the run was killed before its first event"
        if any(file.bytes for file in read):
            nothing = "it holds no readable event of a run"
        why = "; ".join(collector.faults) or nothing
        raise PlimsollError(f"no evidence in {_named(path)}: {why}; give a run folder, such as reports/latest")
    return collector.record(resolved(path.parent), tuple(read))


def _read(path: Path, collector: Collector) -> EvidenceFile:
    digest = hashlib.sha256()
    size = 0
    collector.begin(path.name)
    with _open(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
            digest.update(line)
            size += len(line)
            if not line.strip():
                continue
            if len(line) == _LONGEST_LINE:
                collector.damaged(
                    f"{one_line(path.name)}: line {number} is longer than {_LONGEST_LINE} bytes", torn=False
                )
                break
            try:
                collector.add(_parse(line), is_whole(line))
            except _DAMAGE as error:
                torn = not line.endswith(b"\n")
                what = "is half-written" if torn else f"cannot be read: {_reason(error)}"
                collector.damaged(f"{one_line(path.name)}: line {number} {what}", torn=torn)
    return EvidenceFile(path=path, bytes=size, sha256=digest.hexdigest())


def _named(path: Path) -> str:
    """A path in a message; whoever made the folder may have put line breaks into names."""
    return one_line(str(path), _LONGEST_PATH)


def _open(path: Path) -> BinaryIO:
    """Open evidence for reading. Raises OSError for what is not a regular file, since a pipe would block and a device
    never ends, and for a link that leads out of the run's folder, which may come from anybody."""
    folder = path.parent.parent if path.parent.name == RESUMED_FOLDER else path.parent
    is_linked = path.is_symlink() or (path.parent != folder and path.parent.is_symlink())
    if is_linked and not resolved(path).is_relative_to(resolved(folder)):
        raise OSError(errno.EINVAL, "it is a link that leads out of the run's folder", str(path))
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is no file", str(path))


def _parse(line: bytes) -> dict[str, Any]:
    if line.startswith(b"{") and b"\x00" not in line:
        # As json.loads reads it, which makes a decoder anew for each line.
        text = line.decode("utf-8", "surrogatepass")
        data, end = _JSON.raw_decode(text)
        if text[end:].strip(" \t\r\n"):
            raise json.JSONDecodeError("Extra data", text, end)
    else:
        data = json.loads(line, parse_constant=_refuse, parse_int=_whole_number, parse_float=_finite)
    if not isinstance(data, dict):
        raise TypeError("it is not an event")
    return data


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS and (count := len(digits.removeprefix("-"))) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {count} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return number


_JSON: Final = json.JSONDecoder(parse_constant=_refuse, parse_int=_whole_number, parse_float=_finite)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing or unknown"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, (AttributeError, IndexError, ArithmeticError)):
        return f"a field holds something of another kind ({error})"
    return "it is not JSON" if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)) else str(error)


def _fallbacks(path: Path) -> Iterator[Path]:
    """This run's second files that belong to us: anybody can put files into the folder for temporary files."""
    with suppress(OSError):
        pattern = fallback_path(path, "*")
        prefix, suffix = pattern.name.rsplit("*", maxsplit=1)
        for found in sorted(pattern.parent.glob(f"{glob.escape(prefix)}*{suffix}")):
            with suppress(OSError):
                if found.lstat().st_uid == os.geteuid() and not found.is_symlink():
                    yield found
