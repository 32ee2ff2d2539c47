"""Sabotage: hosts of the session carry a fault of the stack, one of `tests.support.golden_faults` or of the module that
`STACK_FAULTS` names; asked for by `-p`.

`STACK_FAULT` is planted in every host; `STACK_FAULT_OF`, a JSON object from the beginning of a host's name to a fault,
in those hosts alone.
"""

import json
import os
from typing import Any

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    from fixtures.hosts import SuiteHosts
    from plimsoll.host.protocol import Call

    start = SuiteHosts.start

    def start_faulty(self: Any, name: str, devices: Any = (), among: Any = ()) -> Any:
        host = start(self, name, devices, among)
        if (fault := _fault_of(name)) is not None:
            faults = os.environ.get("STACK_FAULTS", "tests.support.golden_faults")
            host.ask(Call(target=f"{faults}:plant", arguments={"name": fault}), 120.0)
        return host

    SuiteHosts.start = start_faulty  # type: ignore[method-assign]


def _fault_of(host: str) -> str | None:
    of_hosts: dict[str, str] = json.loads(os.environ.get("STACK_FAULT_OF", "{}"))
    return next((fault for name, fault in of_hosts.items() if host.startswith(name)), os.environ.get("STACK_FAULT"))
