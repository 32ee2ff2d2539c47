"""Sends its own process real signals at named moments of a session; asked for by `-p`.

`SIGNALS` says which and when, as `check=SIGTERM;pages=SIGTERM+SIGTERM`.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

_LATER_S = 1.1
"""A signal that comes sooner after another counts as part of it."""
_SENT = dict(part.split("=") for part in os.environ.get("SIGNALS", "").split(";") if part)


def _send(moment: str) -> None:
    for name in filter(None, _SENT.pop(moment, "").split("+")):
        os.kill(os.getpid(), getattr(signal, name))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart() -> None:
    _send("start")


def pytest_runtest_call() -> None:
    _send("call")


def pytest_runtest_logfinish(nodeid: str) -> None:
    if nodeid.endswith("[gpu1b]"):
        _send("check")


@pytest.hookimpl(wrapper=True, specname="pytest_keyboard_interrupt")
def pytest_keyboard_interrupt_around() -> Iterator[None]:
    _send("told-first")
    yield
    _send("told-last")


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_summary(prefix: Any, summary: Any, postfix: Any, session: Any) -> None:
    if "pages" in _SENT:
        time.sleep(_LATER_S)
        _send("pages")


def pytest_unconfigure() -> None:
    _send("unconfigure")
    atexit.register(_send, "exit")
