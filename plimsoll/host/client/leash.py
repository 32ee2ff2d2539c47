"""The leash between the controller and a host's supervisor: it brings pids at the start and the exit status at the end.

Letting go of it kills the host with everything it started. That is how hosts end when the controller is killed: the
kernel closes its end.
"""

from __future__ import annotations

import json
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from plimsoll.suspension import STEP, Patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended: one of the two is set, or neither where its supervisor was killed before it could tell."""

    code: int | None = None
    signal: str | None = None

    @property
    def is_known(self) -> bool:
        """False where the supervisor died before it could report."""
        return self.code is not None or self.signal is not None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {self.signal}"
        return "exit status unknown" if self.code is None else f"exit code {self.code}"

    @classmethod
    def of(cls, code: int) -> Exit:
        """From Python's convention: a negative number is a signal."""
        if code >= 0:
            return cls(code=code)
        try:
            return cls(signal=signal.Signals(-code).name)
        except ValueError:
            return cls(signal=f"signal {-code}")


class Leash:
    """The controller's end. `exit` is None while the host lives, as far as was told."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.setblocking(False)
        self._text = b""
        self._pid: int | None = None
        self.supervisor: int | None = None
        self.fault: str | None = None
        self.exit: Exit | None = None

    def fileno(self) -> int:
        """For poll: readable when there is news."""
        return self._line.fileno()

    @property
    def pid(self) -> int:
        """The host's process id, once `await_start` has said that it is known."""
        if self._pid is None:
            raise RuntimeError("a host's process id was asked for before it was told")
        return self._pid

    def await_start(self, limit: float) -> bool:
        """Wait until the host is ready and has told its pid; False when it does not within `limit` seconds."""
        return self._await(lambda: self._pid is not None, limit)

    def await_exit(self, limit: float) -> bool:
        """Wait until the host has ended and was reaped; False when that takes longer than `limit` seconds."""
        return self._await(lambda: self.exit is not None, limit)

    def let_go(self) -> None:
        """Have the supervisor kill the host's process group and report how it ended."""
        with suppress(OSError):  # the supervisor may be gone, and the kernel has killed the host with it
            self._line.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give the descriptor back; a host that still lives is killed."""
        self._line.close()

    def _await(self, told: Callable[[], bool], limit: float) -> bool:
        patience = Patience(limit)
        while not told() and self.exit is None:
            remaining = patience.left()
            if remaining <= 0:
                return False
            poller = select.poll()
            poller.register(self._line, select.POLLIN)
            if poller.poll(min(remaining, STEP) * 1000):
                self.read()
        return told()

    def read(self) -> None:
        """Take in what has been told so far, without waiting."""
        try:
            while data := self._line.recv(4096):
                self._text += data
        except BlockingIOError:
            self._take_lines()
        except ConnectionResetError:
            self._end_of_line()
        else:
            self._end_of_line()

    def _end_of_line(self) -> None:
        self._take_lines()
        if self.exit is None:
            self.exit = Exit()

    def _take_lines(self) -> None:
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            news = json.loads(line)
            self._pid = news.get("pid", self._pid)
            self.supervisor = news.get("supervisor", self.supervisor)
            self.fault = news.get("fault", self.fault)
            if "exit" in news:
                self.exit = Exit.of(news["exit"])
