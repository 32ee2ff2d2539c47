"""Warns as plugins and libraries do that are older or newer than the pytest, or the Python, that they run under."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import pytest


class _Leaking:
    def __del__(self) -> None:
        raise OSError("what nobody can catch")


def pytest_configure(config: pytest.Config) -> None:
    """As pytest-asyncio does where a setting of its own is unset."""
    warnings.warn(pytest.PytestDeprecationWarning("a setting is unset"), stacklevel=1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Within a check."""
    warnings.warn("an old name of a library", DeprecationWarning, stacklevel=1)
    _Leaking()
    return (yield)
