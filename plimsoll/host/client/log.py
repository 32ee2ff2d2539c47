"""A host's log file: takes its stdout, stderr and stacks, and gives the lines that belong in a failure.

The host writes into a pipe, and a thread of the controller writes the file: no secret that model code prints reaches
the disk, and a host that prints without end does not fill it.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from plimsoll import clock
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.host.failures import HostStartError
from plimsoll.redaction import Redactor

FILE_LIMIT: Final = 4 << 20
"""Bytes of a log that are kept from its beginning on; of what comes after, the last TAIL_LIMIT."""
TAIL_LIMIT: Final = 1 << 17

_LINES: Final = 20
_LINE_LENGTH: Final = 400
_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 16
"""Bytes after which a line is written though its end has not come."""
_OVERLAP: Final = 1 << 12
"""Bytes of such a line that wait for the rest: a secret may lie across the cut."""
_SETTLE_LIMIT: Final = 2.0
"""Seconds that are waited for what a host has written already; a loaded machine needs some hundredths."""
_STACK_LIMIT: Final = 3.0
"""Seconds that a host is given to write its stacks; faulthandler needs milliseconds."""
_SETTLED: Final = 0.2
"""Seconds without growth after which a dump counts as complete: faulthandler writes no end mark."""

_STACK_START: Final = re.compile(r"^(?:Current thread|Thread) 0x", re.MULTILINE)
_FATAL_START: Final = re.compile(r"^Fatal Python error: ", re.MULTILINE)


class HostLog:
    """The part of a log file that one host writes; earlier hosts may have written to the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._redact = Redactor.from_environment()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._source = -1
        self._tail = bytearray()
        """The last bytes as the host wrote them: in memory alone."""
        self._seen = 0
        """Bytes that the host has written."""
        self._pending = b""
        """Of a line that has not ended yet."""
        self._room = FILE_LIMIT

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Where the host writes to. The file is made where it is missing. Raises HostStartError where that fails."""
        try:
            target = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise HostStartError(f"{self.path}: cannot write the host's log: {reason_of(error)}") from error
        self._room = max(0, FILE_LIMIT - os.fstat(target).st_size)
        self._source, theirs = os.pipe2(os.O_CLOEXEC)
        self._thread = Thread(target=self._copy, args=(self._source, target), name=f"log {self.path.name}", daemon=True)
        self._thread.start()
        try:
            yield theirs
        except BaseException:
            os.close(theirs)
            self.finish()  # the reason may be on its way
            raise
        os.close(theirs)

    def finish(self) -> None:
        """Wait until what an ended host wrote is in the file. Safe to call again, and of no use while a host lives."""
        if self._thread is not None:
            self._thread.join(_SETTLE_LIMIT)

    def last_lines(self) -> tuple[str, ...]:
        """The last 20 lines, long ones cut to 400 characters."""
        lines = [line.rstrip() for line in self._read(0).splitlines() if line.strip()]
        return tuple(line if len(line) <= _LINE_LENGTH else line[:_LINE_LENGTH] + " ..." for line in lines[-_LINES:])

    def fatal_stack(self) -> str | None:
        """What faulthandler wrote when a fatal signal came; None where there was none."""
        text = self._read(0)
        found = _FATAL_START.search(text)
        # The list of extension modules that ends a dump is hundreds of names long and never the cause.
        return None if found is None else text[found.start() :].partition("\nExtension modules:")[0].strip()

    def size(self) -> int:
        """Bytes that the host has written; the offset from which a stack dump is awaited."""
        self._settle()
        return self._seen

    def await_stack(self, offset: int) -> str | None:
        """The stack dump that is being written from `offset` on; None when none comes within three seconds."""
        began = clock.monotonic()
        size, grown = offset, began
        while (now := clock.monotonic()) - began < _STACK_LIMIT:
            if self.size() != size:
                size, grown = self.size(), now
            if now - grown >= _SETTLED and _STACK_START.search(self._read(offset)):
                break
            clock.sleep(0.02)
        text = self._read(offset)
        found = _STACK_START.search(text)
        return None if found is None else text[found.start() :].strip()

    def _read(self, offset: int) -> str:
        """What the host has written from `offset` on, as far as it is kept, without secrets."""
        self._settle()
        with self._lock:
            start = self._seen - len(self._tail)
            data = bytes(self._tail[max(0, offset - start) :])
            if start > offset:  # the beginning of a line is gone, and with it what its rest may be
                data = data.partition(b"\n")[2]
        return self._redact(data.decode("utf-8", errors="replace"))

    def _settle(self) -> None:
        """Wait until what has been written is read."""
        end = clock.monotonic() + _SETTLE_LIMIT
        while self._thread is not None and self._thread.is_alive() and clock.monotonic() < end:
            with self._lock:
                if not self._waiting_bytes():
                    return
            clock.sleep(0.002)

    def _waiting_bytes(self) -> int:
        with suppress(OSError):
            return int.from_bytes(fcntl.ioctl(self._source, termios.FIONREAD, b"\0\0\0\0"), "little")
        return 0

    def _copy(self, source: int, target: int) -> None:
        """Read until the last process that may write has ended; runs in a thread of its own."""
        poller = select.poll()
        poller.register(source, select.POLLIN)
        ended = False
        while not ended:
            poller.poll()
            # Under the lock from before the read on, so that nothing is on its way unseen.
            with self._lock:
                data = os.read(source, _CHUNK)
                ended = not data
                self._take(data, target, ended=ended)
                if ended:
                    self._source = -1
                    os.close(source)
        os.close(target)

    def _take(self, data: bytes, target: int, *, ended: bool) -> None:
        self._seen += len(data)
        self._tail += data
        del self._tail[:-TAIL_LIMIT]
        if self._room > 0:
            whole, self._pending = _split(self._pending + data, ended=ended)
            self._write(target, whole)
        if ended and self._room <= 0:
            kept = bytes(self._tail).partition(b"\n")[2]
            note = f"\n[the log is longer than is kept: {self._seen:,} bytes in all; its end follows]\n".encode()
            self._append(target, note + self._without_secrets(kept))

    def _write(self, target: int, data: bytes) -> None:
        if not data:
            return
        text = self._without_secrets(data)[: self._room]
        self._room -= len(text)
        self._append(target, text)

    def _without_secrets(self, data: bytes) -> bytes:
        try:
            return self._redact(data.decode("utf-8", errors="replace")).encode("utf-8", errors="replace")
        except PlimsollError as error:
            return f"[not kept: {error}]\n".encode()

    @staticmethod
    def _append(target: int, data: bytes) -> None:
        with suppress(OSError):  # the disk is full; the host must not fail for its log
            while data:
                data = data[os.write(target, data) :]


_KEY_BEGIN: Final = b"PRIVATE KEY"


def _split(data: bytes, *, ended: bool) -> tuple[bytes, bytes]:
    """What can be written, and what has to wait for more: a line, or a key of several lines, that has not ended."""
    if ended:
        return data, b""
    begin = data.rfind(b"-----BEGIN ")
    is_key = begin >= 0 and _KEY_BEGIN in data[begin : begin + 60] and b"-----END " not in data[begin:]
    if is_key and len(data) - begin < _LONGEST_LINE:
        return data[:begin], data[begin:]
    cut = data.rfind(b"\n") + 1
    if len(data) - cut > _LONGEST_LINE:
        cut = len(data) - _OVERLAP
    return data[:cut], data[cut:]
