"""The options of pytest-forked, pytest-isolate and pytest-run-parallel, which run checks by means of their own, and of
pytest-socket, which takes away what ours need."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """With the names, the values and the defaults that those plugins give them."""
    parser.addoption("--forked", dest="forked", action="store_true", default=False)
    parser.addoption("--isolate", dest="isolate", action="store_true", default=None)
    parser.addoption("--parallel-threads", dest="parallel_threads", default=1)
    parser.addoption("--disable-socket", dest="disable_socket", action="store_true")
    parser.addoption("--allow-unix-socket", dest="allow_unix_socket", action="store_true")
    parser.addoption("--iterations", dest="iterations", type=int, default=1)
