"""Reads clocks and sleeps. The project calls these functions instead of `time`, so that tests can replace them."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def monotonic() -> float:
    """Seconds on a clock that never steps back; only differences mean anything."""
    return time.perf_counter()


def now() -> datetime:
    """The wall-clock time, aware, in UTC."""
    return datetime.now(UTC)


def sleep(seconds: float) -> None:
    """Wait for so many seconds. A test can replace this, so that it need not wait."""
    time.sleep(seconds)
