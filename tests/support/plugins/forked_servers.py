"""Has the fork servers of this session, which are its own, forked where they can be; asked for by `-p`."""

from __future__ import annotations

from tests.support.forked_stacks import fork_servers_of_a_session


def pytest_configure() -> None:
    fork_servers_of_a_session()
