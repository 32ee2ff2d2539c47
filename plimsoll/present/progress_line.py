"""Shows how far something is that a command does with many bytes: one live line on a terminal, a plain one now and then
elsewhere."""

from __future__ import annotations

import os
import shutil
from threading import Lock
from types import TracebackType
from typing import Final, Self, TextIO

from plimsoll import clock
from plimsoll.units import format_bytes, format_seconds

_CLEAR: Final = "\r\x1b[K"
_QUIET_FOR: Final = 1.0
"""Seconds before anything is shown: most of what is small is over by then."""
_LIVE_EVERY: Final = 0.2
_PLAIN_EVERY: Final = 30.0
"""Seconds between two lines."""


class ProgressLine:
    """A sum of bytes that grows; `add` may be called from several threads."""

    def __init__(self, stream: TextIO, what: str, total: int) -> None:
        self._stream = stream
        self._what = what
        self._total = total
        self._done = 0
        # A terminal that calls itself dumb shows escape sequences as they are.
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._began = clock.monotonic()
        self._next = self._began + (_QUIET_FOR if self._live else _PLAIN_EVERY)
        self._shown = False
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def add(self, new: int) -> None:
        """Take up that so many bytes more are done."""
        with self._lock:
            self._done += new
            now = clock.monotonic()
            if now >= self._next:
                self._next = now + (_LIVE_EVERY if self._live else _PLAIN_EVERY)
                self._show(now - self._began)

    def _show(self, seconds: float) -> None:
        text = f"{self._what}: {format_bytes(self._done)} of {format_bytes(self._total)}, {format_seconds(seconds)}"
        columns = shutil.get_terminal_size().columns
        self._stream.write(f"{_CLEAR}{text[: columns - 1]}" if self._live else f"{text}\n")
        self._stream.flush()
        self._shown = True
