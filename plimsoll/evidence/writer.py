"""Writes evidence at once: one line for each event.

Whatever ends a run (a kill, a crash, a full disk), earlier lines remain. Several processes append to one file
under xdist, so each line goes out in one write under a lock. A failed write must neither fail a test nor lose
measurements: the lines then go to a second file, and the writer says so.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import threading
import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.errors import reason_of
from plimsoll.evidence.chain import START, sealed
from plimsoll.evidence.encoding import encode
from plimsoll.evidence.events import Event
from plimsoll.redaction import Redactor

RESERVED: Final = ("event", "at", "worker", "seq", "after", "sum")
"""Fields that the writer sets on every line."""

RESCUED: Final = "-rescued"
"""Part of the name of a second file with the content of removed evidence."""
_NO_LOCKS_HERE: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def fallback_path(evidence: Path, worker: str) -> Path:
    """The second file for a worker's lines that the run folder does not take.

    Raises OSError where there is no folder for temporary files.
    """
    return Path(tempfile.gettempdir(), f"plimsoll-{evidence.parent.resolve().name}-{worker}.jsonl")


class EvidenceWriter:
    """Appends the events of one process of a run to `path`; make one for each process.

    `worker` is `main` or xdist's name of the worker, and must be unique in the run. `write` may be called from any
    thread, but not from a signal handler. The folder must exist; a file that cannot be made is a failure like any
    other: it is kept in `failure`, never raised.
    """

    def __init__(self, path: Path, worker: str = "main", redactor: Redactor | None = None) -> None:
        self.path = path
        self.worker = worker
        self.failure: str | None = None
        """Why lines could not be written to `path`, and where they are instead; None while all are there."""
        self._redact = redactor or Redactor.from_environment()
        self._lock = threading.Lock()
        self._seq = 0
        self._last = START
        self._pending: deque[bytes] = deque()
        self._in_fallback = 0
        self._fallback: Path | None = None
        # Called now, while there is room: gettempdir() tests a folder by writing into it.
        with suppress(OSError):
            self._fallback = fallback_path(path, worker)
        self._kept: int | None = None
        """A descriptor of the file, by which its content can still be read after somebody has removed it."""
        try:
            self._kept = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
            weakref.finalize(self, os.close, self._kept)
        except OSError as error:
            self._fail(error)

    def write(self, event: Event, /, **fields: object) -> None:
        """Append one event. Raises ValueError for a field that the writer itself sets, and nothing else.

        After a failure each call first tries to write what is still missing, so a disk that has room again ends up
        with the whole evidence.
        """
        if taken := [name for name in RESERVED if name in fields]:
            raise ValueError(f"the fields {', '.join(taken)} of an event are set by the writer")
        with self._lock:
            self._seq += 1
            head = {"event": event.value, "at": clock.now().isoformat(), "worker": self.worker, "seq": self._seq}
            line, self._last = sealed({**head, **encode(fields, self._redact)}, self._last)
            self._pending.append(line)
            self._drain()

    @property
    def events(self) -> int:
        """How many events were given to `write`."""
        return self._seq

    @property
    def unwritten(self) -> tuple[bytes, ...]:
        """The lines that are not in the run folder, oldest first; `read_run` takes them."""
        with self._lock:
            return tuple(self._pending)

    def rescue(self) -> None:
        """At the end of a run: copy the content of a removed or replaced file to a second file. It has the workers'
        lines too, so one process does this for all."""
        with self._lock:
            if self._kept is None or _is_still(self.path, self._kept):
                return
            try:
                # A separate second file, since later lines are in the other one; its name sorts before that one's.
                path = fallback_path(self.path, f"{self.worker}{RESCUED}")
                _claim(path)
                append(path, os.pread(self._kept, os.fstat(self._kept).st_size, 0))
            except OSError as error:
                self.failure = f"{self.path} was removed, and what stood in it is lost ({reason_of(error)})"

    def _drain(self) -> None:
        while self._pending:
            try:
                append(self.path, self._pending[0], self._kept)
            except OSError as error:
                self._fail(error)
                return
            self._pending.popleft()
            self._in_fallback = max(0, self._in_fallback - 1)
        if self.failure is not None:
            self._recovered()

    def _recovered(self) -> None:
        self.failure = None
        if self._fallback is not None:
            with suppress(OSError):
                self._fallback.unlink()

    def _fail(self, error: OSError) -> None:
        missing = f"{self.path} does not take the evidence of {self.worker} ({reason_of(error)})"
        try:
            self._save()
        except OSError as second:
            self.failure = f"{missing}, nor does {self._fallback} ({reason_of(second)}): it is only in memory"
        else:
            self.failure = f"{missing}; it lies in {self._fallback}"

    def _save(self) -> None:
        if self._fallback is None:
            raise OSError(errno.ENOENT, "no folder for temporary files can be written")
        lines = list(self._pending)[self._in_fallback :]
        if lines:
            _claim(self._fallback)
            append(self._fallback, b"".join(lines))
            self._in_fallback += len(lines)


def _is_still(path: Path, descriptor: int) -> bool:
    """True where the path leads to the file of the descriptor."""
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def append(path: Path, data: bytes, same_as: int | None = None) -> None:
    """Append whole lines to an existing file, all or nothing.

    The file is opened each time: a kept descriptor would continue to write into a deleted file.
    `same_as` is a descriptor of the file that it must still be. Raises OSError, also where only a part found room; that
    part is taken back.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if same_as is not None and not os.path.samestat(os.fstat(descriptor), os.fstat(same_as)):
            raise OSError(errno.ESTALE, "another file was put in its place while the run went on")
        locked = _lock(descriptor)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            # Another process was killed in the middle of a line, which must not swallow this one.
            data = b"\n" + data
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            if locked:  # otherwise another process may have written after it
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        # Some cluster file systems have no locks; a write in append mode is then the best there is.
        if error.errno in _NO_LOCKS_HERE:
            return False
        raise
    return True


def _claim(path: Path) -> None:
    """Make the file, or use it if it belongs to us: the folder is shared, and a stranger may have put a link there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "somebody else's file is in its place")
    finally:
        os.close(descriptor)
