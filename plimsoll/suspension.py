"""Notices that this process was stopped and continued, as a batch system, a container engine or a terminal does with
a whole run.

The clock goes on meanwhile, so that a stop would count as the time of a load, or against a deadline, on a node that is
healthy. Nobody tells a process of it. But who waits in short steps sees afterwards that one of them took seconds in
which this process neither ran nor stood in the queue for a processor, which is how a stop differs from a busy machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from threading import Lock
from typing import Final

from plimsoll import clock

STEP: Final = 0.25
"""The most seconds that anybody waits at a time who has Patience."""
_LEAST: Final = 2.0
"""Seconds beyond a step that count as a stop: less may be a file system that took its time."""
_QUEUE: Final = Path("/proc/thread-self/schedstat")


class _Stops:
    """The stops of this process and of its hosts, each counted once, however many threads see it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._until = float("-inf")
        self.seconds = 0.0

    def add(self, began: float, ended: float) -> None:
        with self._lock:
            self.seconds += max(0.0, ended - max(began, self._until))
            self._until = max(ended, self._until)


_STOPS: Final = _Stops()


def stood_still() -> float:
    """For how many seconds this process or a host of it was stopped, as far as anybody saw."""
    return _STOPS.seconds


def note_stopped() -> None:
    """Tell that a host is stopped now, by whoever looks at every step. That moves no deadline: a host that stays so has
    hung. But what it times is no figure of the node."""
    now = clock.monotonic()
    _STOPS.add(now - STEP, now)


class Patience:
    """So many seconds to wait, from now on. Those for which this process was stopped are not taken from them.

    For one thread, which asks what is left before each step, and after the last one where it wants to know of a stop.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._at, self._busy = clock.monotonic(), _busy()
        self.stopped = 0.0
        """Seconds for which this process was stopped."""

    def left(self) -> float:
        """The seconds that are left; not above zero once they are over."""
        at, busy = clock.monotonic(), _busy()
        passed = at - self._at
        # Only this gap is added, and time that this process was given or waited for is none: a host that hangs is found
        # out on a busy machine too.
        still = passed - STEP - (busy - self._busy)
        if still > _LEAST:
            self.stopped += still
            _STOPS.add(at - still, at)
            passed -= still
        self._left -= passed
        self._at, self._busy = at, busy
        return self._left

    def pass_over(self) -> None:
        """Take the time since the last look for that of something else this process did, which may have been blocked
        (a terminal that takes no lines, a disk): it is no stop, and counts as any time."""
        at, busy = clock.monotonic(), _busy()
        self._left -= at - self._at
        self._at, self._busy = at, busy


def _busy() -> float:
    """Seconds for which this process has run, and this thread has waited for a processor; only differences count."""
    try:
        waited = int(_QUEUE.read_bytes().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # Linux alone tells
        waited = 0.0
    return time.process_time() + waited
