"""Keeps a status as it is, whatever becomes of the standard streams: closed by who calls, full, or read no more."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO


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
