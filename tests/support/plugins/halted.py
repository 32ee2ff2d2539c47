"""Stands still before one check, the first time that it is loaded: what is to be killed in the middle waits to be.

HALTED_FILE names a file that then comes to be; where it is there already, nothing happens.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import pytest

HALTED_AT: Final = 3
"""Checks that have a result by then."""
_LONGEST: Final = 600


class _Halt:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._begun = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> None:
        """Wait at the right check, before its first event."""
        self._begun += 1
        if self._begun == HALTED_AT + 1 and not self._file.exists():
            self._file.touch()
            time.sleep(_LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    """Register it, where a file is named."""
    if name := os.environ.get("HALTED_FILE"):
        config.pluginmanager.register(_Halt(Path(name)), "halted")
