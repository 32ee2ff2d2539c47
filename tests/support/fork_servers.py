"""Shares one fork server among the commands and sub-sessions of a file of tests, while their environment is the same.

Each would import the model stack for itself otherwise, which takes longer than what most of them are asked for. Hosts
are real processes all the same, in the environment and the folder of who asks. That sessions and commands start a
server of their own, and end it, tests/process/test_host_stack.py, tests/process/test_inspect_command.py and
tests/sessions/test_suite_runs.py show.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from unittest import mock

from plimsoll.host.client.forkserver import ForkServer
from plimsoll.host.client.process import STACK

BELL: Final = "PLIMSOLL_TEST_BELL"
"""The variable that tells a sub-session where to ring for a fork server."""
_READ_LATER: Final = ("PLIMSOLL_", "STACK_FAULT", "MEDDLE", "GITHUB_STEP_SUMMARY", "RAM_MEETING")
"""Beginnings of variables that nothing reads while the stack is imported."""
_IMPORT_LIMIT: Final = 600.0


class _KeptServer(ForkServer):
    """A fork server that goes on when the command ends which asked for it."""

    def stop(self) -> None:
        if not self.is_alive:
            super().stop()


class _Servers:
    """The fork server of whoever asked last. Another environment or path of modules has another one; another folder
    need not: a host that was told a path in words of its controller's folder would not find it."""

    def __init__(self) -> None:
        self._key: object = None
        self._server: ForkServer | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def take(self, modules: Sequence[str], import_limit: float, address: Path | None = None) -> ForkServer:
        """In place of the class: the server that is there, or a new one."""
        assert address is None, "a command shares its fork server with nobody"
        variables = {name: value for name, value in os.environ.items() if not name.startswith(_READ_LATER)}
        key = (tuple(modules), import_limit, variables, [entry or str(Path.cwd()) for entry in sys.path])
        if self._server is None or key != self._key or not self._server.is_alive:
            self.end()
            self._folder = tempfile.TemporaryDirectory(prefix="plimsoll-")
            self._key, self._server = key, _KeptServer(modules, import_limit, self.address)
        return self._server

    @property
    def address(self) -> Path:
        """Where the server listens."""
        assert self._folder is not None
        return Path(self._folder.name, "fork")

    def end(self) -> None:
        """End it, where there is one."""
        if self._server is not None:
            ForkServer.stop(self._server)
        if self._folder is not None:
            self._folder.cleanup()
        self._server = self._folder = None


SERVERS: Final = _Servers()
"""tests/conftest.py ends what is left after each file: other files count the processes that there are."""


class Bell:
    """Where a sub-session rings when it needs its first host: only then is the stack imported, if it is not yet."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._folder = tempfile.TemporaryDirectory(prefix="plimsoll-")
        self.path = Path(self._folder.name, "bell")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._socket.setblocking(False)

    def __enter__(self) -> Bell:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._folder.cleanup()

    def answer(self) -> None:
        """Tell who has rung where the fork server listens."""
        try:
            line, _ = self._socket.accept()
        except BlockingIOError:
            return
        with line, mock.patch.dict(os.environ, self._environment, clear=True):
            SERVERS.take((STACK,), _IMPORT_LIMIT)
            line.sendall(str(SERVERS.address).encode())


def ring(bell: str) -> Path:
    """Where the fork server listens; for the process of the sub-session."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(bell)
        return Path(line.recv(4096).decode())
