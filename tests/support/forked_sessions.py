"""Forks sub-sessions from one process a worker that has imported pytest and the library: importing them anew takes a
third of the time of most.

A forked session is a process of its own, with the arguments, environment and streams that it is given. Variables that
are read while an interpreter starts, or a library is loaded, cannot be given to it: such sessions are started. Modules
of fixtures/ are imported by each, for pytest rewrites their assertions.
"""

from __future__ import annotations

import ast
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from plimsoll.redaction import Redactor

ROOT: Final = Path(__file__).parents[2]
_AT_START: Final = ("LD_", "PYTHON", "MALLOC_", "LC_", "LANG", "TZ", "OMP_", "OPENBLAS_", "MKL_")
"""Beginnings of variables that an interpreter or a library reads once."""
_BOOT: Final = "from tests.support.forked_sessions import main; main({})"
_BEFOREHAND: Final = ("pytest", "_pytest.pastebin", "_pytest.junitxml", "execnet", "jinja2", "cpuinfo", "platformdirs")
"""What pytest and its plugins import; not the plugins, whose assertions pytest rewrites."""
_START_LIMIT: Final = 120.0
_SIZE: Final = 8
"""Bytes that say how long an order is."""


class ForkedSession:
    """A session that runs: as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, leash: socket.socket, output: int) -> None:
        self._leash = leash
        self._output = output
        self._text = b""
        self._said = b""
        self.returncode: int | None = None
        self._hear(_START_LIMIT)
        self.pid = int(json.loads(self._text.splitlines()[0])["pid"])

    def communicate(self, timeout: float) -> str:
        """Everything that it said, once it has ended. Raises subprocess.TimeoutExpired, and may be called again."""
        end = time.monotonic() + timeout
        while self._output >= 0:
            ready, _, _ = select.select([self._output], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired("pytest", timeout)
            data = os.read(self._output, 65536)
            self._said += data
            if not data:
                os.close(self._output)
                self._output = -1
        while self.returncode is None:
            self._hear(max(0.0, end - time.monotonic()))
        return self._said.decode().replace("\r\n", "\n")

    def kill(self) -> None:
        """End it at once. Its process is not waited for before its end is told, so the number is still its own."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def __enter__(self) -> ForkedSession:
        return self

    def __exit__(self, *_: object) -> None:
        self._leash.close()
        if self._output >= 0:
            os.close(self._output)

    def _hear(self, timeout: float) -> None:
        ready, _, _ = select.select([self._leash], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired("pytest", timeout)
        data = self._leash.recv(4096)
        if not data:
            raise RuntimeError("the process that sessions are forked from is gone")
        self._text += data
        for line in self._text.splitlines():
            status = json.loads(line).get("status")
            if status is not None:
                self.returncode = status


class _Sessions:
    """The process that the sessions of one worker are forked from."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._began = _read_at_start(os.environ)

    def can_start(self, variables: Mapping[str, str]) -> bool:
        """Whether a session's variables differ from this process's own in none that is read at a start."""
        if self._process is None:
            self._began = _read_at_start(os.environ)
        return _read_at_start(variables) == self._began

    def start(self, arguments: Sequence[str], variables: Mapping[str, str]) -> ForkedSession:
        """Fork one in the project's folder; `arguments` are pytest's."""
        control = self._control or self._begin(variables)
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        try:
            order = json.dumps({"arguments": list(arguments), "variables": dict(variables)}).encode()
            socket.send_fds(control, [len(order).to_bytes(_SIZE, "big")], [theirs.fileno(), writing])
            control.sendall(order)
        finally:
            theirs.close()
            os.close(writing)
        return ForkedSession(ours, reading)

    def end(self) -> None:
        """End the process; sessions that it forked live on."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait(60)
        self._control = self._process = None

    def _begin(self, variables: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT.format(theirs.fileno())],
                cwd=ROOT,
                env=dict(variables),
                pass_fds=[theirs.fileno()],
            )
        self._control = ours
        return ours


def _read_at_start(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(_AT_START)}


SESSIONS: Final = _Sessions()
"""tests/conftest.py ends it after a worker's last test."""


def main(number: int) -> None:
    """Fork a session for each order, until the worker is gone."""
    control = socket.socket(fileno=number)
    for module in (*_BEFOREHAND, *sorted(_of_the_library())):
        importlib.import_module(module)
    # The forms of secrets are made at the first text, from a library that takes as long as all of ours.
    Redactor()("a text")
    gc.collect()
    gc.freeze()
    # A number that wakes `select` whenever a session ends.
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    leashes: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_of_ended(leashes)
        if control.fileno() not in ready:
            continue
        size, descriptors, _, _ = socket.recv_fds(control, _SIZE, 2)
        if not size:
            return
        order = json.loads(_received(control, int.from_bytes(size, "big")))
        leash, output = descriptors
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, before)
            for descriptor in (control.fileno(), leash, woken, wake, *(one.fileno() for one in leashes.values())):
                os.close(descriptor)
            control.detach()
            for one in leashes.values():
                one.detach()
            _become_session(order, output)
            return
        os.close(output)
        leashes[pid] = socket.socket(fileno=leash)
        leashes[pid].sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _become_session(order: Mapping[str, Any], output: int) -> None:
    """`python -m pytest` with these arguments. Returns, or raises SystemExit, to the end of the interpreter."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    # New streams: those of an interpreter that starts are made for what the descriptors lead to.
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", errors="backslashreplace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    os.environ.clear()
    os.environ.update(order["variables"])
    sys.path[0] = str(ROOT)
    sys.argv = ["pytest", *order["arguments"]]
    sys.orig_argv = [sys.executable, "-m", "pytest", *order["arguments"]]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


def _tell_of_ended(leashes: dict[int, socket.socket]) -> None:
    for pid in list(leashes):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        with leashes.pop(pid) as leash:
            # Told before it is waited for, so that nobody else has its number while somebody may still kill it.
            info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert info is not None
            status = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
            with suppress(OSError):  # nobody listens any more
                leash.sendall(json.dumps({"status": status}).encode() + b"\n")
            os.waitpid(pid, 0)


def _received(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            raise EOFError("the worker has ended in the middle of an order")
        data += more
    return data


def _of_the_library() -> set[str]:
    """The library's modules that fixtures/ imports as it is imported."""
    found = set()
    for path in (ROOT / "fixtures").glob("*.py"):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("plimsoll."):
                found.add(str(statement.module))
    return found
