"""A host's log file: where its stdout, stderr and stacks go, and what of it belongs into a failure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.host.failures import HostStartError

_LINES: Final = 20
_LINE_LENGTH: Final = 400
_TAIL_BYTES: Final = 1 << 16
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
        self._start = path.stat().st_size if path.exists() else 0

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Open for appending, made where it is missing. Raises HostStartError where it cannot be written."""
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise HostStartError(f"{self.path}: cannot write the host's log: {error.strerror}") from error
        try:
            yield handle
        finally:
            os.close(handle)

    def last_lines(self) -> tuple[str, ...]:
        """The last 20 lines, long ones cut to 400 characters."""
        text = self._read(max(self._start, self.size() - _TAIL_BYTES))
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return tuple(line if len(line) <= _LINE_LENGTH else line[:_LINE_LENGTH] + " ..." for line in lines[-_LINES:])

    def fatal_stack(self) -> str | None:
        """What faulthandler wrote when a fatal signal came; None where there was none."""
        text = self._read(max(self._start, self.size() - _TAIL_BYTES))
        found = _FATAL_START.search(text)
        # The list of extension modules that ends a dump is hundreds of names long and never the cause.
        return None if found is None else text[found.start() :].partition("\nExtension modules:")[0].strip()

    def size(self) -> int:
        """Bytes in the file; the offset from which a stack dump is awaited."""
        return self.path.stat().st_size if self.path.exists() else 0

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
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", errors="replace")
