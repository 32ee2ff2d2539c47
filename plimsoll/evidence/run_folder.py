"""Makes the folder of a run, and points `latest` to it.

Both happen before anything is measured, so that an unwritable folder is reported before an hour of loading, not after
it.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import EVIDENCE_FILE
from plimsoll.userpath import is_there
from plimsoll.usertoml.suggest import nearest

LATEST: Final = "latest"
"""The link in the reports folder that points to the newest run."""

_TRIES: Final = 100


def create_run_folder(reports: Path, now: datetime) -> Path:
    """Make `reports/<run-id>/` and return it; the run id is `20261120T125901Z-hostname-ab12`, in UTC.

    The reports folder is made where it is missing. Runs that start at the same time get different folders. Raises
    PlimsollError where nothing can be written.
    """
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    # Some 40 characters tell nodes apart, and keep file names below every limit.
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname().split(".")[0])[:40].strip("-.") or "node"
    try:
        reports.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            folder = reports / f"{stamp}-{host}-{secrets.token_hex(2)}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise _not_writable(reports, error) from None
    raise PlimsollError(
        f"reports folder {reports} has no free name for a run on {host} at {stamp}; use --report-dir=DIR"
    )


def check_latest(reports: Path) -> None:
    """Raise PlimsollError where something that is no link stands in the place of `reports/latest`."""
    link = reports / LATEST
    if link.is_dir() and not link.is_symlink():
        raise PlimsollError(f"{link} is a folder, not a link to the newest run; move it away, or use --report-dir=DIR")


def point_latest(run: Path) -> None:
    """Point `latest` beside the run to it, in one step: a reader sees the old run or the new one.

    Raises PlimsollError where the link cannot be made.
    """
    reports = run.parent
    check_latest(reports)
    link = reports / LATEST
    temporary = reports / f".{LATEST}-{run.name}"
    try:
        temporary.symlink_to(os.path.relpath(run, reports), target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise _not_writable(reports, error) from None


def find_run(run: str, reports: Path) -> Path:
    """The folder or evidence file that `run` names: a path, `latest`, or the id of a run under `reports`. A report that
    lies beside evidence, such as results.json, stands for its run.

    Raises PlimsollError where there is none.
    """
    for path in (Path(run), reports / run):
        if is_there(path):
            is_report = path.is_file() and path.suffix != ".jsonl" and (path.parent / EVIDENCE_FILE).is_file()
            return path.parent if is_report else path
    ids = sorted(
        folder.name for folder in reports.glob("*") if (folder / EVIDENCE_FILE).is_file() and folder.name != LATEST
    )
    near = nearest(run, [LATEST, *ids]) if ids else None
    known = f"the newest in {reports} are {', '.join(ids[-3:])}" if ids else f"{reports} holds no runs"
    known += f"; did you mean '{near}'?" if near else ""
    raise PlimsollError(f"no run {run!r}: it is neither a folder nor an evidence file, and {known}")


def _not_writable(reports: Path, error: OSError) -> PlimsollError:
    return PlimsollError(
        f"reports folder {reports} is not writable ({reason_of(error)}); use --report-dir=DIR for another"
    )
