"""Lets this session run on one core alone, from before anything counts them; asked for by `-p`."""

from __future__ import annotations

import os


def pytest_addoption() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
