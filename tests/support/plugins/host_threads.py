"""Asks each host that the suite starts how many threads torch has in it; asked for by `-p`.

One line a host, `WORKER COUNT`, in the file that HOST_THREADS names.
"""

import os
from pathlib import Path
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    from fixtures.hosts import SuiteHosts
    from plimsoll.host.protocol import Call

    start = SuiteHosts.start
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")

    def ask(self: Any, name: str, devices: Any = (), among: Any = ()) -> Any:
        host = start(self, name, devices, among)
        count = host.ask(Call(target="torch:get_num_threads"), deadline=60.0)
        with Path(os.environ["HOST_THREADS"]).open("a") as told:
            told.write(f"{worker} {count}\n")
        return host

    SuiteHosts.start = ask  # type: ignore[method-assign]
