"""Has each check wait for a file before it begins: the run goes on for as long as a test needs; asked for by `-p`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import pytest

UNTIL: Final = "PLIMSOLL_TEST_HELD_UNTIL"
"""The variable that names the file."""
_LONGEST: Final = 300.0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Wait, in the process that runs the check."""
    end = time.monotonic() + _LONGEST
    while not Path(os.environ[UNTIL]).exists() and time.monotonic() < end:
        time.sleep(0.05)
