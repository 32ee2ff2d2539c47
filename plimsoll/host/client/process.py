"""Starts hosts, child processes with one loaded variant each, and sends them requests with a deadline.

    with Hosts() as hosts:
        host = hosts.start("tiny-llama/nf4", Path("host.log"))
        report = host.ask(Load(spec=spec), deadline=120.0)

A host can segfault, be killed, hang or be stopped, and the controller gets a HostFailure that says so. When the
controller itself is killed, its hosts and all that they started are killed too.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import psutil

from plimsoll import clock
from plimsoll.host.channel import ForeignReplyError, GarbledMessageError, pack, unpack
from plimsoll.host.client import ending
from plimsoll.host.client.exchange import ConnectionLostError, DeadlineMissedError, Exchange
from plimsoll.host.client.forkserver import IMPORT_LIMIT, STACK, ForkServer, JoinedServer, ServerGoneError
from plimsoll.host.client.leash import Exit, Leash
from plimsoll.host.client.log import HostLog
from plimsoll.host.client.processor_time import ProcessorTime, starved
from plimsoll.host.failures import HostDied, HostError, HostStartError, HostTimeout, Raised, StackImportError
from plimsoll.host.protocol import Request
from plimsoll.suspension import note_stopped

R = TypeVar("R")

Progress = Callable[[float, int | None], None]
"""Called with the elapsed seconds and the host's resident memory in bytes, None where that could not be read."""
OnEvent = Callable[[str, dict[str, object]], None]
"""Called with a state of the HOST event and its fields."""

_EXIT_LIMIT: Final = 5.0
"""Seconds for a host to be gone after its connection broke or it was told to end."""


def _ignore(state: str, fields: dict[str, object]) -> None:
    """The default for `on_event`."""


class Host:
    """A running host; made by `Hosts.start`. One request at a time, from one thread."""

    def __init__(self, name: str, leash: Leash, channel: socket.socket, log: HostLog, on_event: OnEvent) -> None:
        self.name = name
        self.pid: int = leash.pid
        self.log: Path = log.path
        self._leash = leash
        self._channel = channel
        self._channel.setblocking(False)
        self._log = log
        self._on_event = on_event
        self._began = clock.monotonic()
        self._busy = False
        self._stopped = 0.0
        """Seconds for which this process was stopped during the last request, until they are told."""
        self._let_go = False
        """True once it was told to end."""
        self._over: str | None = None
        """Why there is nothing left to ask or close; None while there is."""

    @property
    def is_alive(self) -> bool:
        """False once the process has ended and was reaped, or its supervisor is gone."""
        if self._over is None:
            self._leash.read()
        return self._over is None and self._leash.exit is None

    @property
    def is_closed(self) -> bool:
        """True once it was closed, or was seen to have died: there is nothing left to end."""
        return self._over is not None

    def ask(self, request: Request[R], deadline: float, progress: Progress | None = None) -> R:
        """The reply, waited for `deadline` seconds at most, with `progress` called four times a second.

        Raises HostError where the request raised in the host, which stays usable; HostDied and HostTimeout where the
        host is no more. Anything else that is raised, such as KeyboardInterrupt, ends the host: its reply would be
        taken for the next one's.
        """
        kind = type(request).__name__
        if self._busy:
            raise RuntimeError(f"the host of {self.name} was asked for {kind} while it answers another thread")
        message = pack(request)
        if self._over is not None:
            raise self._died(kind, 0.0, self._over)
        if not self.is_alive:
            raise self._died("idle", clock.monotonic() - self._began, "")
        began = clock.monotonic()
        self._busy = True
        try:
            status, value = self._exchange(kind, message, deadline, progress)
        except BaseException:
            if self._over is None:
                self._finish("its request was abandoned")
                self._tell("closed", request=kind, seconds=clock.monotonic() - began, reason=self._over)
            raise
        finally:
            self._busy = False
        return cast("R", self._settle(kind, clock.monotonic() - began, status, value))

    def close(self) -> None:
        """End the process and wait until it and all that it started are gone. Safe to call again."""
        if self._over is not None:
            return
        if self._busy:
            ending.kill(self.pid, self._leash)  # the thread that waits for the reply sees the end and does the rest
            return
        # What ends after a Ctrl-C cut the wait for its end has not died by itself.
        if not self._let_go and not self.is_alive:
            self._died("idle", clock.monotonic() - self._began, "")
            return
        self._let_go = True
        self._channel.close()
        self._leash.await_exit(_EXIT_LIMIT)
        self._finish("it was closed")
        self._tell("closed", seconds=clock.monotonic() - self._began)

    def _exchange(self, kind: str, message: bytes, deadline: float, progress: Progress | None) -> tuple[str, Any]:
        """`("ok", value)` or `("error", Raised)`. Raises HostDied and HostTimeout."""
        began = clock.monotonic()
        before = ProcessorTime.of(self.pid)

        def tick(seconds: float) -> None:
            if ending.is_stopped(self.pid):
                note_stopped()
            if progress is not None:
                progress(seconds, _resident(self.pid))

        exchange = Exchange(self._channel, self._leash, message)
        try:
            status, value = unpack(self._reply(exchange, deadline, tick))
        except DeadlineMissedError:
            short = starved(before and before.later(exchange.stopped), ProcessorTime.of(self.pid))
            raise self._timed_out(kind, clock.monotonic() - began, deadline, short) from None
        except ForeignReplyError as reply:
            return "error", Raised(kind="TypeError", message=str(reply), traceback="")
        except (ConnectionLostError, GarbledMessageError) as lost:
            raise self._died(kind, clock.monotonic() - began, str(lost)) from None
        return status, value

    def _reply(self, exchange: Exchange, deadline: float, tick: Callable[[float], None]) -> bytes:
        try:
            return exchange.run(deadline, tick)
        finally:
            self._stopped = exchange.stopped

    def _settle(self, kind: str, seconds: float, status: str, value: Any) -> Any:
        if status == "ok":
            self._tell("request", request=kind, seconds=seconds)
            return value
        failure = HostError(host=self.name, request=kind, seconds=seconds, log=self.log, raised=value)
        self._tell("request", **failure.fields())
        raise failure from value.mistake

    def _died(self, kind: str, seconds: float, reason: str) -> HostDied:
        """The failure, once the process is surely gone. With no reason its exit status is the reason: wait for it."""
        first = self._over is None
        lingers = first and not reason and not self._leash.await_exit(_EXIT_LIMIT)
        if first:
            self._finish("it had died before")
        ended = self._leash.exit or Exit()
        # Unless it was only slow to die: a driver takes its time to give back a GPU's memory.
        if lingers and ended.signal == "SIGKILL":
            reason = "it closed its connection without ending, and was killed"
        failure = HostDied(
            host=self.name,
            request=kind,
            seconds=seconds,
            log=self.log,
            reason=reason if reason or ended.is_known else "its supervisor process was killed",
            exitcode=ended.code,
            signal=ended.signal,
            stack=self._log.fatal_stack(),
            last_lines=self._log.last_lines(),
        )
        if first:
            self._tell("died", **failure.fields())
        return failure

    def _timed_out(self, kind: str, seconds: float, deadline: float, short: str | None) -> HostTimeout:
        last_lines = self._log.last_lines()
        stack, was_stopped = ending.take_stack(self.pid, self._log)
        how = ending.terminate(self.pid, self._leash)
        self._finish("it had missed a deadline")
        ended = self._leash.exit or Exit()
        failure = HostTimeout(
            host=self.name,
            request=kind,
            seconds=seconds,
            log=self.log,
            deadline=deadline,
            stack=stack,
            ending=f"it was stopped (SIGSTOP); {how}" if was_stopped else how,
            exitcode=ended.code,
            signal=ended.signal,
            last_lines=last_lines,
            starved=short,
        )
        self._tell("timeout", **failure.fields())
        return failure

    def _finish(self, why: str) -> None:
        """Make sure that the process is gone, and give its descriptors back."""
        if self._leash.exit is None or not self._leash.exit.is_known:
            ending.kill(self.pid, self._leash)
        self._channel.close()
        self._leash.close()
        self._over = why
        self._log.finish()

    def _tell(self, state: str, **fields: object) -> None:
        if isinstance(seconds := fields.get("seconds"), float):
            fields["seconds"] = round(seconds, 3)
        ended = self._leash.exit
        how: dict[str, object] = {} if ended is None else {"exitcode": ended.code, "signal": ended.signal}
        if self._stopped:
            how["suspended"] = round(self._stopped, 3)
            self._stopped = 0.0
        self._on_event(state, {"variant": self.name, "pid": self.pid, "log": str(self.log)} | how | fields)


def _resident(pid: int) -> int | None:
    """Resident bytes; None where the process is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


class Hosts:
    """The hosts of this process and the fork server they come from, which starts with the first of them.

    `preload` names modules that the fork server imports besides the model stack, for hosts that need them at once.
    They may come from a fork server of another process of ours, which listens at `join`; where nobody listens there any
    more, from their own.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        on_event: OnEvent | None = None,
        stack: str | None = STACK,
        import_limit: float = IMPORT_LIMIT,
        *,
        join: Path | None = None,
    ) -> None:
        self._join = join
        self._modules = (*((stack,) if stack else ()), *preload)
        self._on_event = on_event or _ignore
        self._import_limit = import_limit
        self._server: ForkServer | JoinedServer | None = None
        self._fault: StackImportError | None = None
        self._hosts: list[Host] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(
        self, name: str, log: Path, threads: int | None = None, environment: Mapping[str, str] | None = None
    ) -> Host:
        """A new host that writes its output to `log` (appended), limited to so many torch threads where that is given.

        `environment` is set in the host alone, before it asks for a GPU: `CUDA_VISIBLE_DEVICES` gives it one. Raises
        HostStartError.
        """
        began = clock.monotonic()
        host_log = HostLog(log)
        with self._lock, host_log.descriptor() as descriptor:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    leash = self._fork(name, threads, theirs, descriptor, environment or {})
                except BaseException:
                    ours.close()
                    raise
            host = Host(name, leash, ours, host_log, self._on_event)
            self._hosts = [other for other in self._hosts if not other.is_closed]
            self._hosts.append(host)
        seconds = round(clock.monotonic() - began, 3)
        self._on_event("started", {"variant": name, "pid": host.pid, "log": str(log), "seconds": seconds})
        return host

    def close(self) -> None:
        """End every host and the fork server. Safe to call again; `start` makes a new server."""
        with self._lock:
            hosts, self._hosts = self._hosts, []
            server, self._server = self._server, None
        for host in hosts:
            host.close()
        if server is not None:
            server.stop()

    def _fork(
        self, name: str, threads: int | None, channel: socket.socket, log: int, environment: Mapping[str, str]
    ) -> Leash:
        if self._fault is not None:
            raise StackImportError(str(self._fault))
        # A second try: the server may have been killed since the last host, and nobody needs to notice.
        for _ in range(2):
            try:
                return self._current_server().fork(name, threads, channel, log, environment)
            except StackImportError as fault:
                self._fault = fault
                raise
            except ServerGoneError:
                continue
        raise HostStartError(f"no host for {name}: the fork server ended twice while it was asked for one")

    def _current_server(self) -> ForkServer | JoinedServer:
        if self._server is not None and not self._server.is_alive:
            self._server.stop()
            self._server = None
        if self._server is None:
            self._server = self._joined() or ForkServer(self._modules, self._import_limit)
        return self._server

    def _joined(self) -> JoinedServer | None:
        """The server to join, once: one that ended was perhaps killed, and may be again."""
        join, self._join = self._join, None
        if join is None:
            return None
        try:
            return JoinedServer(join, self._import_limit)
        except ServerGoneError:
            return None
