"""Shares the machine's RAM among processes that load models, so that no RAM is promised twice.

A host takes its RAM bit by bit while it loads, so that the memory which is free now may be another host's already. Each
process therefore writes down what its host was admitted with, in a file that it holds locked: a worker that is killed
frees its share. One process at a time is admitted, and whoever waits stays the next one, so that small hosts do not
keep a large one waiting for ever.
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.host.client.gpu_locks import Waiting, locked_at_once
from plimsoll.units import format_bytes

_POLL: Final = 0.1
"""Seconds between two looks."""
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_OWN_PAGES: Final = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)
_LONGEST: Final = 64
"""Bytes of a share's text, which is written and read at once."""


class RamShare:
    """What one host was admitted with; held until it is released, or this process ends."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.taken_by(None)

    def taken_by(self, pid: int | None) -> None:
        """Say which process takes it: what that one holds already counts no second time."""
        if self._descriptor is not None:
            text = f"{self._size} {pid or 0}\n"
            os.pwrite(self._descriptor, f"{text:<{_LONGEST}}".encode(), 0)

    def release(self) -> None:
        """Give it back. Safe to call again."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RamWanting:
    """Why no share was given: what is available, and what others were admitted with and have not taken yet (bytes)."""

    available: int
    promised: int
    others: int
    """How many hosts of other processes there are."""

    def __str__(self) -> str:
        hosts = f"{self.others} hosts of other workers were" if self.others > 1 else "a host of another worker was"
        return (
            f"{format_bytes(self.available)} of RAM available, of which {hosts} admitted with "
            f"{format_bytes(self.promised)} that {'they have' if self.others > 1 else 'it has'} not taken yet"
        )


class RamLedger:
    """The shares of all processes of this machine that use the same `folder`; `available` reads how many bytes a
    process could take now."""

    def __init__(self, folder: Path, available: Callable[[], int]) -> None:
        self._folder = folder / f".ram-{_machine()}"
        self._available = available
        self._own: set[Path] = set()

    def reserve(
        self, size: int, timeout: float, waiting: Waiting = lambda _why, _seconds: None
    ) -> RamShare | RamWanting:
        """Reserve a share of so many bytes, waiting up to `timeout` seconds while others hold what is missing.
        `waiting` is called repeatedly with the reason and the seconds so far.

        Where no other process holds a share, it is granted: the gate has judged what the machine has.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        began = clock.monotonic()
        with self._turn(began, waiting):
            while True:
                found = self._look()
                if not found.others or found.available - found.promised >= size:
                    return self._share(size)
                if clock.monotonic() - began >= timeout:
                    return found
                waiting(str(found), clock.monotonic() - began)
                clock.sleep(_POLL)

    def _share(self, size: int) -> RamShare:
        # No name that another may have: containers that see one folder number their processes alike.
        share = RamShare(self._folder / f"{os.getpid()}-{uuid.uuid4().hex}.share", size)
        self._own.add(share.path)
        return share

    def _look(self) -> RamWanting:
        shares = [share for path in self._folder.glob("*.share") if (share := self._held(path)) is not None]
        promised = sum(max(0, size - _own_bytes(pid)) for size, pid in shares)
        return RamWanting(available=self._available(), promised=promised, others=len(shares))

    def _held(self, path: Path) -> tuple[int, int] | None:
        """The bytes of another process's share, and the process that uses them; None for our own share, and for a dead
        holder's, which is removed."""
        if path in self._own:
            return None
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if locked_at_once(descriptor):
                path.unlink(missing_ok=True)
                return None
            size, pid = os.pread(descriptor, _LONGEST, 0).split()
            return int(size), int(pid)
        finally:
            os.close(descriptor)

    @contextmanager
    def _turn(self, began: float, waiting: Waiting) -> Iterator[None]:
        """Be the one who is admitted next."""
        descriptor = os.open(self._folder / "turn.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while not locked_at_once(descriptor):
                waiting("another worker waits for RAM, and comes first", clock.monotonic() - began)
                clock.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)


def _machine() -> str:
    """What tells this machine from others that see the same folder over a network."""
    return _BOOT.read_text(encoding="ascii").strip()[:8] if _BOOT.exists() else os.uname().nodename


def _own_bytes(pid: int) -> int:
    """What a process holds that is no page of a file; zero for none, and for one that cannot be looked at."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace") if pid else ""
    except OSError:
        return 0
    return sum(int(kilobytes) * 1024 for kilobytes in _OWN_PAGES.findall(text))
