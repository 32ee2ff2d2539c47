"""Which of some processes still run. A corpse does not: who ends without its parent is buried by the first process of
the machine or container, and in a container without an init by nobody."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil


def runs(process: psutil.Process) -> bool:
    """False for a process that has ended, buried or not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def still_running(processes: Iterable[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Those that run for longer than that many seconds."""
    end = time.monotonic() + timeout
    left = [process for process in processes if runs(process)]
    while left and time.monotonic() < end:
        time.sleep(0.02)
        left = [process for process in left if runs(process)]
    return left
