"""Ends a check while it waits for its host, as a plugin with a time limit does; asked for by `-p`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NoReturn
from unittest import mock

import pytest

from plimsoll.host.client.exchange import Exchange

ENDED = "test_finite_logits"


def _over(*_: Any) -> NoReturn:
    pytest.fail("Timeout (>6.0s) of a plugin")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None]:
    if item.originalname != ENDED:
        return (yield)
    loaded: Any = item.funcargs["loaded"]
    _ = loaded.report  # what is ended is the question, and no load
    with mock.patch.object(Exchange, "run", _over):
        return (yield)
