"""Forks Python processes from one that has imported what they need: to start an interpreter and import it anew takes
longer than what most of them are asked for.

A forked process is one of its own, with the arguments, environment, folder and streams that it is given. It has no
variables that are read while an interpreter starts, or a library is loaded, other than those of who forks it; but
libraries of a folder in LD_LIBRARY_PATH are loaded before it begins.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, TypeAlias

from filelock import FileLock

ROOT: Final = Path(__file__).parents[2]
_AT_START: Final = ("LD_", "PYTHON", "MALLOC_", "LC_", "LANG", "TZ", "OMP_", "OPENBLAS_", "MKL_")
"""Beginnings of variables that an interpreter or a library reads once."""
LIBRARIES: Final = "LD_LIBRARY_PATH"
MODULES: Final = "PYTHONPATH"
_BOOT: Final = "from tests.support.forking import main; main({!r}, {!r}, {!r})"
_START_LIMIT: Final = 120.0
SIZE: Final = 8
"""Bytes that say how long an order is."""
_HAS_READ: Final = "variables.json"

Read: TypeAlias = Callable[[Mapping[str, str]], dict[str, str]]


class ForkedProcess:
    """A process that was forked for somebody: as much of `subprocess.Popen` as tests ask for."""

    def __init__(self, leash: socket.socket, arguments: Sequence[str]) -> None:
        self._leash = leash
        self._heard = b""
        self.args = list(arguments)
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.returncode: int | None = None
        self._hear(_START_LIMIT)
        self.pid = int(json.loads(self._heard.splitlines()[0])["pid"])

    def poll(self) -> int | None:
        """The status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float = _START_LIMIT) -> int:
        """The status. Raises subprocess.TimeoutExpired after so many seconds."""
        end = time.monotonic() + timeout
        while self.returncode is None:
            self._hear(max(0.0, end - time.monotonic()))
        return self.returncode

    def kill(self) -> None:
        """End it at once. Its process is not waited for before its end is told, so the number is still its own."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless its end is known."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def communicate(self, text: str) -> str:
        """Say a last word, and return the rest of what it says. For one that is talked to."""
        assert self.stdin is not None
        assert self.stdout is not None
        with self.stdin, self.stdout:
            self.stdin.write(text)
            self.stdin.close()
            said = self.stdout.read()
        self.wait()
        self.close()
        return said

    def close(self) -> None:
        """Hear no more of it."""
        self._leash.close()

    def _hear(self, timeout: float) -> None:
        ready, _, _ = select.select([self._leash], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired(self.args, timeout)
        data = self._leash.recv(4096)
        if not data:
            raise RuntimeError("the process that others are forked from is gone")
        self._heard += data
        for line in self._heard.splitlines():
            status = json.loads(line).get("status")
            if status is not None:
                self.returncode = status
                self._leash.close()


class Forks:
    """A process that others are forked from; it begins with the first. `prepare` names a function, as
    `module:function`, that imports in it what they need, and returns the `Forks` by which those ask for more that may.

    It is itself forked from `below` where it can be. `read` tells the variables that make a difference to what is
    imported. One that `listens` has an address, by which other processes may join it.
    """

    def __init__(
        self, prepare: str, *, below: Forks | None = None, read: Read | None = None, listens: bool = False
    ) -> None:
        self._prepare = prepare
        self._below = below
        self._read = read or _read_at_start
        self.rewritten: tuple[str, ...] = ()
        """The modules that `prepare` imported as pytest imports them, with assertions rewritten: those of the project's
        folder, and not of a copy in another."""
        self._listens = listens
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self._variables: dict[str, str] | None = None
        self._began = self._read(os.environ)
        self._shared: Path | None = None
        self._place: Path | None = None
        self._lock = threading.Lock()

    def share(self, folder: Path) -> None:
        """Have one for all processes that share in this folder: the first that needs it begins it, others join it, and
        it lives until the last of them is gone."""
        self._shared = folder / self._prepare.rpartition(":")[2]

    def begin_with(self, variables: Mapping[str, str]) -> None:
        """Have it begin with these variables, and not with those of who asks first."""
        self._variables = dict(variables)

    @property
    def address(self) -> Path:
        """Where others join it; it begins with the first that is told, who is told once it listens: who joined sooner
        would find nobody. Beside it lies what it has read."""
        with self._lock:
            if self._control is None:
                self._begin()
        assert self._place is not None
        _await_listener(self._place)
        return self._place

    @property
    def is_joined(self) -> bool:
        """Whether this process was forked from there itself, and may ask for more."""
        return self._control is not None and self._process is None

    def join(self, control: socket.socket) -> None:
        """Ask over this socket, in a process that was forked from there."""
        self._control = control

    def join_at(self, address: Path) -> None:
        """Ask what listens at an address."""
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(str(address))
        self._began = json.loads(address.with_name(_HAS_READ).read_text())

    def can_start(self, variables: Mapping[str, str]) -> bool:
        """Whether variables differ from this process's own in none that is read at a start and cannot be imitated."""
        if self._control is None:
            self._began = self._read(self._variables or os.environ)
        return self._read(variables) == self._began

    def start(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        streams: Sequence[int],
        *,
        folder: Path = ROOT,
        leads: str = "",
        is_child: bool = False,
        may_fork: bool = False,
    ) -> ForkedProcess:
        """Fork one.

        `arguments` are the interpreter's: -P or -u, then -m or -c. `streams` are its standard input, output and error,
        which the caller closes. It leads a "group" or a "session" of its own where `leads` says so. One that `is_child`
        takes this process for its parent, and gets SIGTERM when this one is gone; one that `may_fork` asks for more.
        """
        ours, theirs = socket.socketpair()
        order = {
            "arguments": list(arguments),
            "variables": dict(variables),
            "folder": str(folder),
            "leads": leads,
            "parent": os.getpid() if is_child else None,
            "may_fork": may_fork,
        }
        text = json.dumps(order).encode()
        with theirs, self._lock:
            control = self._control or self._begin()
            socket.send_fds(control, [len(text).to_bytes(SIZE, "big")], [theirs.fileno(), *streams])
            control.sendall(text)
        return ForkedProcess(ours, [sys.executable, *arguments])

    def piped(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        *,
        error: int = 2,
        leads: str = "",
        is_child: bool = False,
    ) -> ForkedProcess:
        """One that is talked to: it has `stdin` and `stdout`, and its standard error is the descriptor `error`."""
        (reading, theirs), (mine, writing) = os.pipe(), os.pipe()
        try:
            streams = [mine, theirs, error]
            process = self.start(arguments, variables, streams, folder=Path.cwd(), leads=leads, is_child=is_child)
        finally:
            os.close(theirs)
            os.close(mine)
        process.stdin = os.fdopen(writing, "w", encoding="utf-8")
        process.stdout = os.fdopen(reading, encoding="utf-8")
        return process

    def run(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        *,
        folder: Path = ROOT,
        timeout: float = _START_LIMIT,
        joined: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """What one says, and its status; with its standard error in its output where they are `joined`.

        Raises subprocess.TimeoutExpired, and kills it, after so many seconds.
        """
        with (
            Path(os.devnull).open() as nothing,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            streams = [nothing.fileno(), out.fileno(), (out if joined else err).fileno()]
            process = self.start(arguments, variables, streams, folder=folder)
            try:
                status = process.wait(timeout)
            finally:
                process.kill()
                process.close()
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(process.args, status, out.read(), err.read())

    def end(self) -> None:
        """End the process, or leave it to those who share it; those that it forked live on."""
        if self._control is not None:
            self._control.close()
        self._control = None
        if self._shared is not None:
            return
        if self._process is not None:
            self._process.wait(60)
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = self._place = None

    def _begin(self) -> socket.socket:
        variables = {name: value for name, value in (self._variables or os.environ).items() if name != LIBRARIES}
        if self._shared is not None:
            return self._join_or_begin(self._shared, variables)
        if self._listens:
            self._folder = tempfile.TemporaryDirectory(prefix="plimsoll-")
            self._place = Path(self._folder.name, "forks")
        return self._start_preparing(variables)

    def _join_or_begin(self, note: Path, variables: Mapping[str, str]) -> socket.socket:
        """`note` is the file that says where it listens."""
        with FileLock(f"{note}.lock"):
            if note.exists():
                self._place = Path(note.read_text())
                self.join_at(self._place)
                assert self._control is not None
                if self._began == self._read(variables):
                    return self._control
                self._control.close()
                self._shared = self._place = None
                return self._begin()
            # A short path, as addresses must be; who has prepared removes it.
            self._place = Path(tempfile.mkdtemp(prefix="plimsoll-"), "forks")
            control = self._start_preparing(variables)
            _await_listener(self._place)
            note.write_text(str(self._place))
            return control

    def _start_preparing(self, variables: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._began = self._read(variables)
        if self._place is not None:
            self._place.with_name(_HAS_READ).write_text(json.dumps(self._began))
        boot = ["-c", _BOOT.format(self._prepare, str(self._place or ""), self._shared is not None)]
        with theirs:
            if self._below is not None and self._below.can_start(variables):
                self._process = self._below.start(boot, variables, [theirs.fileno(), 1, 2])
            else:
                self._process = subprocess.Popen(
                    [sys.executable, *boot], cwd=ROOT, env=dict(variables), stdin=theirs.fileno()
                )
        self._control = ours
        return ours


def _await_listener(place: Path) -> None:
    end = time.monotonic() + _START_LIMIT
    while not place.exists() and time.monotonic() < end:
        time.sleep(0.01)


def _read_at_start(variables: Mapping[str, str]) -> dict[str, str]:
    """Without those whose effect a forked process has all the same: another folder of PYTHONPATH than the project's may
    hold what replaces a module."""
    found = {name: value for name, value in variables.items() if name.startswith(_AT_START) and name != LIBRARIES}
    if found.get(MODULES) == str(ROOT):
        del found[MODULES]
    return found
