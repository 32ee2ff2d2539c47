"""Has torchrun and its ranks in this session forked where they can be; asked for by `-p`."""

from __future__ import annotations

from tests.support.forked_ranks import fork_ranks_of_a_session


def pytest_configure() -> None:
    fork_ranks_of_a_session()
