"""Sends one request and waits for its reply, no longer than the deadline, whatever state the host is in.

Both directions go through one poll loop: a stopped host neither reads a long request nor finishes a half-sent reply,
and the end of the process is distinct from silence. Time for which this process itself was stopped is no silence.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Final

from plimsoll import clock
from plimsoll.host.channel import CHUNK, GarbledMessageError, Inbox
from plimsoll.host.client.leash import Leash
from plimsoll.suspension import STEP, Patience

TICK: Final = STEP
"""Seconds between two calls of the progress callback."""


class DeadlineMissedError(Exception):
    """There was no whole reply in time."""


class ConnectionLostError(Exception):
    """No reply will come any more; `str()` is what was seen, empty where the exit status says it all."""


class Exchange:
    """A message on its way to a host and the reply on its way back."""

    def __init__(self, channel: socket.socket, leash: Leash, message: bytes) -> None:
        self._channel = channel
        self._leash = leash
        self._outbox = memoryview(message)
        self._inbox = Inbox()
        self._patience = Patience(0.0)

    @property
    def stopped(self) -> float:
        """Seconds for which this process was stopped during `run`; the deadline came so much later."""
        return self._patience.stopped

    def run(self, deadline: float, tick: Callable[[float], None]) -> bytes:
        """The body of the reply; `tick` is called with the elapsed seconds, four times a second.

        Raises DeadlineMissedError and ConnectionLostError.
        """
        began = clock.monotonic()
        self._patience = Patience(deadline)
        next_tick = TICK
        while (left := self._patience.left()) > 0:
            elapsed = clock.monotonic() - began
            if elapsed >= next_tick:
                tick(elapsed)
                self._patience.pass_over()
                next_tick += TICK * (1 + (elapsed - next_tick) // TICK)
            body = self._step(max(0.0, min(next_tick - elapsed, left)))
            if body is not None:
                self._patience.left()  # a stop may have been the last that happened
                return body
        raise DeadlineMissedError

    def _step(self, timeout: float) -> bytes | None:
        """Wait for one thing to happen and deal with it; the reply's body once it is whole."""
        poller = select.poll()
        poller.register(self._leash, select.POLLIN)
        poller.register(self._channel, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        # Rounded up: a timeout of less than a millisecond would make the loop spin.
        ready = dict(poller.poll(int(timeout * 1000) + 1))
        events = ready.get(self._channel.fileno(), 0)
        try:
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                # Before the news of its end: a host may answer and die, and the answer counts.
                return self._read()
            if events & select.POLLOUT:
                self._outbox = self._outbox[self._channel.send(self._outbox[:CHUNK]) :]
        except GarbledMessageError as garbled:
            raise ConnectionLostError(str(garbled)) from garbled
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ConnectionLostError("") from error
        if self._leash.fileno() in ready:
            self._leash.read()
            if self._leash.exit is not None:
                raise ConnectionLostError("")
        return None

    def _read(self) -> bytes | None:
        data = self._channel.recv(CHUNK)
        if not data:
            raise ConnectionLostError("")
        self._inbox.feed(data)
        return self._inbox.take()
