"""Hands GPUs to one process at a time: a worker has the GPUs of its host to itself, whatever other workers do.

The locks are the kernel's, on files that all processes share, so that a worker which is killed frees its GPUs. They are
taken in one order, and never while others are held, so that no two workers wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from plimsoll import clock

Waiting = Callable[[str, float], None]

_POLL: Final = 0.1
"""Seconds between two looks at a GPU that another process has."""


class GpuLocks:
    """The GPUs that this process has, by the names that CUDA gives them. `folder` is the same for all who share the
    GPUs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    @property
    def held(self) -> frozenset[str]:
        """The names of the GPUs that this process has."""
        return frozenset(self._held)

    def hold(self, names: Iterable[str], waiting: Waiting = lambda _name, _seconds: None) -> None:
        """Have these GPUs, and no others; waits for them. `waiting` is called again and again with the name of one that
        another process has, and the seconds that it took so far.

        Where one is wanting, all that are held are let go first: hosts on them must have ended.
        """
        wanted = frozenset(names)
        if wanted <= self._held.keys():
            self._let_go(self._held.keys() - wanted)
            return
        self.release()
        for name in sorted(wanted):
            self._held[name] = self._locked(name, waiting)

    def release(self) -> None:
        """Let all go. Safe to call again."""
        self._let_go(set(self._held))

    def _let_go(self, names: Iterable[str]) -> None:
        for name in list(names):
            os.close(self._held.pop(name))

    def _locked(self, name: str, waiting: Waiting) -> int:
        descriptor = _opened(self._folder / f".gpu-{_safe(name)}.lock")
        try:
            began = clock.monotonic()
            while not locked_at_once(descriptor):
                waiting(name, clock.monotonic() - began)
                clock.sleep(_POLL)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


@contextmanager
def checkpoint_lock(folder: Path, checkpoint: str, *, alone: bool) -> Iterator[None]:
    """Read a checkpoint `alone`, for a load that is timed with a page cache in a known state, or beside others that
    are not: who has it mapped keeps it from being evicted."""
    descriptor = _opened(folder / f".checkpoint-{_safe(checkpoint)}.lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    # Python closes it in what it starts: a host that outlives a killed worker by a moment does not keep the lock.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def locked_at_once(descriptor: int) -> bool:
    """Take the lock of a file; False where another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _safe(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
