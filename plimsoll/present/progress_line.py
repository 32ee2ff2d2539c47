"""Shows how far a command is with many bytes or many runs, or that it waits: one live line on a terminal, a plain one
now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Final, Self, TextIO

from plimsoll import clock
from plimsoll.streams import LiveLine
from plimsoll.units import format_bytes, format_elapsed, format_seconds

_QUIET_FOR: Final = 1.0
"""Seconds before anything is shown: most of what is small is over by then."""
_LIVE_EVERY: Final = 0.2
_PLAIN_EVERY: Final = 30.0
"""Seconds between two lines."""


class ProgressLine:
    """A sum that grows, of bytes unless `form` writes it otherwise; `add` may be called from several threads."""

    def __init__(self, stream: TextIO, what: str, total: int, form: Callable[[float], str] = format_bytes) -> None:
        self._form = form
        self._what = what
        self._total = total
        self._done = 0
        self._line = LiveLine(stream)
        self._began = clock.monotonic()
        self._next = self._began + (_QUIET_FOR if self._line.is_live else _PLAIN_EVERY)
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line.is_drawn:
            self._line.clear()

    def add(self, new: int) -> None:
        """Take up that so many bytes more are done."""
        with self._lock:
            self._done += new
            now = clock.monotonic()
            if now >= self._next:
                self._next = now + (_LIVE_EVERY if self._line.is_live else _PLAIN_EVERY)
                self._show(now - self._began)

    def _show(self, seconds: float) -> None:
        text = f"{self._what}: {self._form(self._done)} of {self._form(self._total)}, {format_seconds(seconds)}"
        self._line.tell(text)


class WaitingLine:
    """Shows what a command waits for and since when, so that seconds without a word do not look like a hang. Nothing
    else may write to the terminal meanwhile; where there is none, a plain line goes to the stream now and then."""

    def __init__(self, stream: TextIO, what: str) -> None:
        self._what = what
        self._line = LiveLine(stream)
        self._over = Event()
        self._thread = Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        began = clock.monotonic()
        while not self._over.wait(_QUIET_FOR if self._line.is_live else _PLAIN_EVERY):
            with suppress(OSError, ValueError):  # whoever reads has gone: what is waited for goes on
                self._line.tell(f"{self._what}: {format_elapsed(clock.monotonic() - began)}")
        with suppress(OSError, ValueError):
            if self._line.is_drawn:
                self._line.clear()
