"""Reads clocks: tests swap these functions, and nothing else in the project calls `time`."""

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
    """Wait; apart so that a test can make waiting free."""
    time.sleep(seconds)
