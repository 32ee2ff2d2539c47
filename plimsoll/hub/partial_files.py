"""Removes what a download that was ended has begun to write: huggingface_hub gives partial files names that no later
process uses, so they would only fill the disk."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".incomplete"
_ENDS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""Signals that batch systems and terminals send to all processes of a job."""


def remove_at_the_end() -> None:
    """Have the partial files that this process opens from now on removed when it has ended, however it ends.

    Another process does so, because threads of this one go on until its last moment: they open further files, or have
    closed one that they did not move yet. Call this before the first thread. What holds this process's output then
    holds it until the files are gone.
    """
    ear, mouth = os.pipe()
    if os.fork() == 0:
        os.close(mouth)
        _remove_what_is_told(ear)
    os.close(ear)

    def tell(event: str, arguments: tuple[object, ...]) -> None:
        # Python says so before it opens a file, so none can exist untold.
        if event != "open":
            return
        path, mode, _ = arguments
        # One that is appended to is of a release that goes on with it at the next attempt.
        writes = isinstance(mode, str) and mode[:1] in ("w", "x")
        if writes and isinstance(path, str | os.PathLike) and str(path).endswith(_SUFFIX):
            with suppress(BrokenPipeError):  # a download is not lost because nobody would tidy up after it
                os.write(mouth, os.fsencode(Path(path).absolute()) + b"\0")

    sys.addaudithook(tell)


def _remove_what_is_told(ear: int) -> None:
    """Remove the files whose names come through a pipe, once all ends of it at the other side are closed."""
    try:
        for number in _ENDS:
            signal.signal(number, signal.SIG_IGN)
        names = bytearray()
        while part := os.read(ear, 65536):
            names += part
        for name in names.split(b"\0")[:-1]:
            with suppress(OSError):  # it was moved to its place
                Path(os.fsdecode(bytes(name))).unlink()
    finally:
        os._exit(0)
