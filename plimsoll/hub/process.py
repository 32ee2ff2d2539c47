"""The Hub's own process: `python -m plimsoll.hub.process`, started only by plimsoll.hub.child.

It keeps huggingface_hub and its threads out of pytest's process, and can be ended at any moment: a name server, proxy
or download that hangs blocks nothing else. The job comes on standard input, messages go to standard output as JSON
lines, and what libraries print goes to standard error.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.child.inside import Outlet, end_with_parent
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.extras import install_command
from plimsoll.hub.access import Access, Query
from plimsoll.hub.partial_files import remove_at_the_end
from plimsoll.hub.rows import RowsQuery
from plimsoll.redaction import Redactor

_ASKED_AT_ONCE: Final = 4
_TELL_EVERY: Final = 0.2
"""Seconds between two messages of progress."""


class HubOutlet(Outlet):
    """Sends the messages of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._told = (-_TELL_EVERY, "", -1)

    def waiting(self, lock: Path) -> None:
        """Send once that another process holds a lock, with what the lock's file says about it."""
        holder = ""
        with suppress(OSError):
            holder = " on ".join(lock.read_text("utf-8", "replace").split()[:2])
        self.send(waiting=str(lock), holder=holder)

    def progress(self, phase: str, done: int, total: int) -> None:
        """Send the progress of a phase, if it changed and the last message is old enough. Without progress nothing is
        sent, so that the other side can tell stuck from slow."""
        now = clock.monotonic()
        at, last_phase, last_done = self._told
        if (phase, done) != (last_phase, last_done) and (phase != last_phase or now - at >= _TELL_EVERY):
            self._told = (now, phase, done)
            self.send(phase=phase, done=done, total=total)


def main() -> int:
    """Carry out the job; the status is 0 where all messages were sent."""
    job = json.load(sys.stdin)
    end_with_parent(job["parent"])
    if job["kind"] == "fetch":
        remove_at_the_end()
    outlet = HubOutlet()
    try:
        if job["kind"] == "ask":
            _ask([Query(**query) for query in job["queries"]], outlet)
        elif job["kind"] == "describe":
            _describe(Query(**job["query"]), outlet)
        elif job["kind"] == "rows":
            _read_rows(RowsQuery(**job["query"]), outlet)
        else:
            _fetch(Access.from_json(job["access"]), Path(job["notes"]), outlet)
    except ModuleNotFoundError as error:
        extra = "datasets" if job["kind"] == "rows" else "models"
        outlet.send(error=f"{error.name} is not installed; install it with: {install_command(extra)}")
    except PlimsollError as error:
        outlet.send(error=str(error))
    except OSError as error:  # from the file system: network errors are answers or a FetchError
        where = f"{error.filename}: " if error.filename else ""
        outlet.send(error=Redactor.from_environment()(f"{where}{reason_of(error)}"))
    else:
        outlet.send(all_said=True)
    return 0


def _ask(queries: list[Query], outlet: HubOutlet) -> None:
    from plimsoll.hub.queries import ask  # late, so that a failed import can be reported

    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        numbers = {pool.submit(ask, query): number for number, query in enumerate(queries)}
        for future in as_completed(numbers):
            outlet.send(number=numbers[future], access=future.result().to_json())


def _describe(query: Query, outlet: HubOutlet) -> None:
    from plimsoll.hub.describing import describe

    outlet.send(repository=describe(query, outlet.progress).to_json())


def _fetch(access: Access, notes: Path, outlet: HubOutlet) -> None:
    from dataclasses import asdict

    from plimsoll.hub.fetching import fetch

    outlet.send(snapshot=asdict(fetch(access, notes, outlet.progress, outlet.waiting)))


def _read_rows(query: RowsQuery, outlet: HubOutlet) -> None:
    from plimsoll.hub.reading_rows import read_rows

    for access, total, rows in read_rows(query, outlet.progress):
        outlet.send(access=access.to_json(), total=total, rows=rows)


if __name__ == "__main__":
    sys.exit(main())
