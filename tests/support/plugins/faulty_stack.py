"""Sabotage: every host of the session carries a fault of the stack, `STACK_FAULT` of `tests.support.golden_faults` or
of the module that `STACK_FAULTS` names; asked for by `-p`."""

import os
from typing import Any

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    from fixtures.hosts import SuiteHosts
    from plimsoll.host.protocol import Call

    start = SuiteHosts.start

    def start_faulty(self: Any, name: str, devices: Any = (), among: Any = ()) -> Any:
        host = start(self, name, devices, among)
        faults = os.environ.get("STACK_FAULTS", "tests.support.golden_faults")
        host.ask(Call(target=f"{faults}:plant", arguments={"name": os.environ["STACK_FAULT"]}), 120.0)
        return host

    SuiteHosts.start = start_faulty  # type: ignore[method-assign]
