"""Notes when the fork server of a session's workers begins and ends, and starts none; asked for by `-p`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOTES = "PLIMSOLL_TEST_SERVERS"


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before conftest.py is read, and after the plugin that has hosts come from the tests' server."""
    from plimsoll.host.client import shared_server

    def note(word: str) -> None:
        with Path(os.environ[NOTES]).open("a") as notes:
            notes.write(f"{word}\n")

    class Noted:
        address = None

        def __init__(self) -> None:
            note("late" if early_config.pluginmanager.has_plugin("fixtures.run") else "ahead")

        def dismiss(self) -> None:
            note("dismissed")

        def close(self) -> None:
            note("closed")

    shared_server.SharedServer = Noted  # type: ignore[assignment, misc]
