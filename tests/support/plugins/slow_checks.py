"""Checks that take their time; asked for by `-p`."""

from __future__ import annotations

import time


def pytest_runtest_call() -> None:
    time.sleep(3)
