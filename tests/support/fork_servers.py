"""Shares a fork server among the commands, hosts and sub-sessions of a worker's tests that have one environment.

Each would import the model stack for itself otherwise, which takes longer than what most of them are asked for. Hosts
are real processes all the same, in the environment and the folder of who asks. That sessions and commands start a
server of their own, and end it, tests/process/test_host_stack.py, tests/process/test_inspect_command.py and
tests/sessions/test_suite_runs.py show.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import mock

from plimsoll import clock
from plimsoll.host.client import process
from plimsoll.host.client.forkserver import STACK, ForkServer
from tests.support.forked_stacks import forked_servers, read_by_the_stack

BELL: Final = "PLIMSOLL_TEST_BELL"
"""The variable that tells a sub-session where to ring for a fork server."""
_IMPORT_LIMIT: Final = 600.0
_LISTEN_LIMIT: Final = 60.0
"""Seconds from the start of a server to its socket, which is there before the stack is imported."""
_BELL_SECONDS: Final = 0.05
_PLUGIN: Final = "tests.support.plugins.shared_fork_server"
_MOST_KEPT: Final = 6
"""Servers that wait for somebody to ask again: each holds the model stack in 300 MB of memory."""


class _KeptServer(ForkServer):
    """A fork server that goes on when the command ends which asked for it; hosts have the environment and the folder
    of who asks, not of who asked first."""

    def _surroundings(self, environment: Mapping[str, str]) -> dict[str, object]:
        whole = {"whole_environment": dict(os.environ), "folder": str(Path.cwd())}
        return {**super()._surroundings(environment), **whole}

    def stop(self) -> None:
        if not self.is_alive:
            super().stop()


@dataclass(frozen=True, slots=True)
class _Kept:
    key: object
    server: ForkServer
    folder: tempfile.TemporaryDirectory[str]

    @property
    def address(self) -> Path:
        """Where it listens."""
        return Path(self.folder.name, "fork")

    def end(self) -> None:
        ForkServer.stop(self.server)
        self.folder.cleanup()


class _Servers:
    """The fork servers of who asked last. Another environment or path of modules has another one; another folder need
    not: a host that was told a path in words of its controller's folder would not find it."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    def take(self, modules: Sequence[str], import_limit: float) -> ForkServer:
        """In place of the class: the server that is there, or a new one."""
        return self._take(modules, import_limit).server

    def listening(self, modules: Sequence[str], import_limit: float) -> Path:
        """Where such a server listens; who was told sooner would find nobody, and start a server of its own."""
        kept = self._take(modules, import_limit)
        end = clock.monotonic() + _LISTEN_LIMIT
        while not kept.address.exists() and kept.server.is_alive and clock.monotonic() < end:
            clock.sleep(0.01)
        return kept.address

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Have hosts of this process come from here."""
        with mock.patch.object(process, "ForkServer", self.take):
            yield

    def end(self) -> None:
        """End them all."""
        while self._kept:
            self._kept.pop().end()

    def _take(self, modules: Sequence[str], import_limit: float) -> _Kept:
        read = read_by_the_stack(os.environ)
        key = (tuple(modules), import_limit, read, [entry or str(Path.cwd()) for entry in sys.path])
        found = next((kept for kept in self._kept if kept.key == key and kept.server.is_alive), None)
        if found is None:
            folder = tempfile.TemporaryDirectory(prefix="plimsoll-")
            with forked_servers() if STACK in modules else nullcontext():
                found = _Kept(key, _KeptServer(modules, import_limit, Path(folder.name, "fork")), folder)
        else:
            self._kept.remove(found)
        self._kept.append(found)
        while len(self._kept) > _MOST_KEPT:
            self._kept.pop(0).end()
        return found


SERVERS: Final = _Servers()
"""tests/conftest.py ends what is left after a worker's last test."""


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
            line.sendall(str(SERVERS.listening((STACK,), _IMPORT_LIMIT)).encode())


def run_with_hosts(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command that starts pytest, whose hosts come from here; it and pytest are processes of their own.

    Raises subprocess.TimeoutExpired after so many seconds.
    """
    with (
        Bell(environment) as bell,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, BELL: str(bell.path), "PYTEST_PLUGINS": _PLUGIN},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        ) as process,
    ):
        end = clock.monotonic() + timeout
        while process.poll() is None:
            if clock.monotonic() > end:
                process.kill()
                raise subprocess.TimeoutExpired(command, timeout)
            bell.answer()
            clock.sleep(_BELL_SECONDS)
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())


def ring(bell: str) -> Path:
    """Where the fork server listens; for the process of the sub-session."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(bell)
        return Path(line.recv(4096).decode())
