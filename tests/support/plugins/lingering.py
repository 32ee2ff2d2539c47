"""Has the first check of a worker take seconds of which the worker gives no sign; asked for by `-p`."""

from __future__ import annotations

import time
from typing import Any

import pytest

_SECONDS = 4.0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: Any) -> None:
    """Wait, where this is a worker."""
    if hasattr(item.config, "workerinput") and item is item.session.items[0]:
        time.sleep(_SECONDS)
