"""Reads evidence back into a `RunRecord`, whatever state a killed run, a full disk or a second writer left it in.

Nothing is passed over in silence: each line that cannot be read, each line that is missing by its number and each
contradiction is a fault of the record, and a record with faults is never accepted.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from plimsoll.errors import PlimsollError
from plimsoll.evidence.collector import Collector
from plimsoll.evidence.record import EvidenceFile, RunRecord
from plimsoll.evidence.writer import fallback_path

EVIDENCE_FILE: Final = "evidence.jsonl"
"""The name of the evidence in a run folder."""


def read_run(run: Path, unwritten: Iterable[bytes] = ()) -> RunRecord:
    """The record of a run folder or an evidence file.

    Lines that the folder could not take are read from the writer's second file where it is still there, and from
    `unwritten` (see EvidenceWriter). Raises PlimsollError where there is no evidence, or a newer Plimsoll wrote it.
    """
    path = run if run.is_file() or run.suffix == ".jsonl" else run / EVIDENCE_FILE
    collector = Collector()
    files = []
    try:
        files.append(_read(path, collector))
    except OSError as error:
        collector.faults.append(f"{path} cannot be read ({error.strerror or error})")
    for fallback in _fallbacks(path):
        files.append(_read(fallback, collector))
        second = shlex.quote(str(fallback))
        collector.faults.append(
            f"part of the evidence is not in the run folder but in {fallback}; "
            f"once there is room: cat {second} >> {shlex.quote(str(path))} && rm {second}"
        )
    if lost := sum(collector.add(_parse(line)) for line in unwritten):
        collector.faults.append(f"{lost} events are in memory only: neither the run folder nor a second file took them")
    if not collector.events:
        why = "; ".join(collector.faults) or "it holds no readable event: the run was killed before its first"
        raise PlimsollError(f"no evidence in {path}: {why}; give a run folder, such as reports/latest")
    return collector.record(path.resolve().parent, tuple(files))


def _read(path: Path, collector: Collector) -> EvidenceFile:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            digest.update(line)
            size += len(line)
            if not line.strip():
                continue
            try:
                collector.add(_parse(line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                what = "is half-written" if not line.endswith(b"\n") else f"cannot be read: {_reason(error)}"
                collector.damaged(f"{path.name}: line {number} {what}")
    return EvidenceFile(path=path, bytes=size, sha256=digest.hexdigest())


def _parse(line: bytes) -> dict[str, Any]:
    data = json.loads(line, parse_constant=_refuse)
    if not isinstance(data, dict):
        raise TypeError("it is not an event")
    return data


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing or unknown"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it is not JSON" if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)) else str(error)


def _fallbacks(path: Path) -> Iterator[Path]:
    """The second files of this run that are ours: anybody can put a file into the folder for temporary files."""
    with suppress(OSError):
        pattern = fallback_path(path, "*")
        prefix, suffix = pattern.name.rsplit("*", maxsplit=1)
        for found in sorted(pattern.parent.glob(f"{glob.escape(prefix)}*{suffix}")):
            with suppress(OSError):
                if found.lstat().st_uid == os.geteuid() and not found.is_symlink():
                    yield found
