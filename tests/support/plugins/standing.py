"""Stops the host of a variant before its first load, which is then under way for as long as a test wants; asked for by
`-p`."""

from __future__ import annotations

import os
import signal
from typing import Any, Final
from unittest import mock

from plimsoll.host.client.process import Host, Hosts

STANDING: Final = "tiny-llama/bf16"
_START: Final = Hosts.start
_stopped: Final[list[int]] = []


def pytest_configure() -> None:
    """Have hosts started so."""
    mock.patch.object(Hosts, "start", _start).start()


def _start(hosts: Hosts, name: str, *arguments: Any, **named: Any) -> Host:
    host = _START(hosts, name, *arguments, **named)
    if name == STANDING and not _stopped:
        os.kill(host.pid, signal.SIGSTOP)
        _stopped.append(host.pid)
    return host
