"""Notes when each worker begins and has collected, beside a fork server whose imports never end; asked for by `-p`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOTES = "PLIMSOLL_TEST_STARTS"


def _note(word: str) -> None:
    if (worker := os.environ.get("PYTEST_XDIST_WORKER")) is not None:
        with Path(os.environ[NOTES]).open("a") as notes:
            notes.write(f"{worker} {word}\n")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before conftest.py begins to import for workers."""
    from plimsoll.host.client import shared_server

    vars(shared_server)["STACK"] = "tests.support.endless_import"
    _note("begins")


def pytest_configure() -> None:
    from fixtures import workers

    vars(workers)["_LONGEST_START"] = 120.0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish() -> None:
    _note("collected")
