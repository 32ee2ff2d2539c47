"""Writes to streams, whatever becomes of them: closed by who calls, full, or read no more; and to one line of a
terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final, TextIO


class LastingFile:
    """A text file that takes what is written for as long as it can, and from then on throws it away. Whole lines are
    passed on at once, as to a terminal: who follows a log or a pipe sees what is going on.

    `on_end` is called once, with the reason.
    """

    def __init__(self, file: TextIO, on_end: Callable[[OSError], None]) -> None:
        self._file = file
        self._on_end = on_end
        self._ended = False

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        if not self._ended:
            try:
                self._file.write(text)
                if "\n" in text:
                    self._file.flush()
            except OSError as error:
                self._end(error)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        if not self._ended:
            try:
                self._file.flush()
            except OSError as error:
                self._end(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _end(self, error: OSError) -> None:
        self._ended = True
        throw_away(self._file)
        self._on_end(error)


_CLEAR: Final = "\r\x1b[K"


class LiveLine:
    """The line of a terminal on which a command stands, drawn anew over what is there; where there is no terminal that
    can do so, plain lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # A terminal that calls itself dumb shows escape sequences as they are.
        self.is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.is_drawn = False

    def tell(self, text: str) -> None:
        """Show the text: on a terminal as much as the line takes, for what went on to the next could not be drawn
        over."""
        if self.is_live:
            columns = width_of(self._stream) or len(text) + 1
            text = f"{_CLEAR}{text[: max(columns - 1, 1)]}"
        self._stream.write(text if self.is_live else f"{text}\n")
        self._stream.flush()
        self.is_drawn = self.is_live

    def stay(self, text: str) -> None:
        """Write a line that stays, in the place of what is drawn."""
        self._stream.write(f"{_CLEAR if self.is_live else ''}{text}\n")
        self._stream.flush()
        self.is_drawn = False

    def clear(self) -> None:
        """Leave the line empty for others."""
        if self.is_live:
            self._stream.write(_CLEAR)
            self._stream.flush()
        self.is_drawn = False


def width_of(stream: IO[str]) -> int | None:
    """The columns of the terminal that a stream leads to; None for a file or a pipe. COLUMNS says otherwise for both
    standard streams, of which one may lead elsewhere."""
    if not stream.isatty():
        return None
    if not os.environ.get("COLUMNS", "").isdecimal():
        with suppress(OSError, ValueError):
            if columns := os.get_terminal_size(stream.fileno()).columns:
                return columns
    return shutil.get_terminal_size().columns


def throw_away(file: TextIO) -> None:
    """Send what is still in a file's buffer nowhere: the interpreter tries again at exit, and changes its status."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)
        file.flush()


def open_closed_streams() -> None:
    """Open the standard streams that a caller closed, as some daemons do, on the null device: otherwise the next file
    to be opened would take their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # which takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115  open for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
