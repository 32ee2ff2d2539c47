"""Has the hosts of this sub-session forked by the server of the process that tests it; asked for by `-p`."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.support.fork_servers import BELL, ring


class _NoServer:
    """In place of the fork server that a run's workers share: they have that of the tests."""

    address = None

    def dismiss(self) -> None:
        """There is nothing to end."""

    def close(self) -> None:
        """Nor to wait for."""


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before conftest.py begins to import for workers."""
    if BELL in os.environ:
        from plimsoll.host.client import shared_server

        shared_server.SharedServer = _NoServer  # type: ignore[assignment, misc]


def pytest_configure() -> None:
    from fixtures.hosts import SuiteHosts
    from plimsoll.host.client import process

    start = SuiteHosts.start

    def start_shared(self: Any, *arguments: Any, **options: Any) -> Any:
        if self._join is None and (bell := os.environ.get(BELL)):
            self._join = ring(bell)
        return start(self, *arguments, **options)

    own = process.Hosts

    def hosts_that_join() -> process.Hosts:
        """For who takes hosts as they are needed: the plan, for what nobody has predicted yet."""
        return own(join=ring(os.environ[BELL]))

    SuiteHosts.start = start_shared  # type: ignore[method-assign]
    if BELL in os.environ:
        process.Hosts = hosts_that_join  # type: ignore[assignment, misc]
