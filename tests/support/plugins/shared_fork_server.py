"""Has the hosts of this sub-session forked by the server of the process that tests it; asked for by `-p`."""

from __future__ import annotations

import os
from typing import Any

from tests.support.fork_servers import BELL, ring


def pytest_configure() -> None:
    from fixtures.hosts import SuiteHosts

    start = SuiteHosts.start

    def start_shared(self: Any, *arguments: Any, **options: Any) -> Any:
        if self._join is None and (bell := os.environ.get(BELL)):
            self._join = ring(bell)
        return start(self, *arguments, **options)

    SuiteHosts.start = start_shared  # type: ignore[method-assign]
