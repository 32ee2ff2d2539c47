"""Sabotage beside the checks, as plugins like pytest-monitor break in fixtures and hooks of their own; asked for by
`-p`.

`BREAKS` names where: `setup` or `teardown` of a fixture, or a `hook`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

WHERE = os.environ.get("BREAKS", "")


@pytest.fixture(autouse=True)
def broken() -> Iterator[None]:
    if WHERE == "setup":
        fail()
    yield
    if WHERE == "teardown":
        raise RuntimeError("planted")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    result = yield
    if WHERE == "hook":
        fail()
    return result


def fail() -> None:
    pytest.fail("planted")
