"""The supervisor, a small process between controller and host: starts the host, reports how it ended, leaves no orphan.

It holds no lock that native code could keep and does nothing but wait, so it reacts when the host cannot. When the
controller lets go of the leash, which the kernel does for a controller that was killed, the supervisor kills the host
and all its descendants. The kernel in turn kills the host when the supervisor is killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from contextlib import suppress
from typing import Any, Final

import psutil

from plimsoll import clock
from plimsoll.host.server import linux
from plimsoll.host.server.isolation import become_host

_SWEEP_LIMIT: Final = 2.0
"""Seconds in which killed descendants should be gone; one that is not belongs to another user or hangs in a driver."""


def supervise(order: dict[str, Any], channel: int, leash: int, log: int) -> int:
    """Start the host and stay until it has ended; the return value is this process's own exit code."""
    os.setsid()
    linux.set_name("plimsoll-watch")
    linux.adopt_orphans()
    news, wakeup = _signals()
    supervisor = os.getpid()
    host = os.fork()
    if host == 0:
        _close(news, wakeup)
        become_host(order, channel, leash, log, supervisor)
    _close(channel, log)
    with socket.socket(fileno=leash) as line:
        line.setblocking(False)
        status = _watch(line, news, host)
        _end_group(host)
        if status is None:
            _, status = os.waitpid(host, 0)
        sweep()
        with suppress(OSError):  # the controller may be gone, and then nobody needs the report
            line.sendall(json.dumps({"exit": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
    return 0


def _signals() -> tuple[int, int]:
    """Both ends of a pipe from which each signal is read as one byte: the end of a child, or a request to stop."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    numbers = (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # a launcher may have blocked them
    return reader, writer


def _watch(line: socket.socket, news: int, host: int) -> int | None:
    """Wait for the host's end, whose status is returned, or for the order to end it (None)."""
    poller = select.poll()
    poller.register(line, select.POLLIN)
    poller.register(news, select.POLLIN)
    while True:
        ready = dict(poller.poll())
        if news in ready:
            signals = os.read(news, 4096)
            while (reaped := _reap()) is not None:
                if reaped[0] == host:
                    return reaped[1]
            if signal.SIGTERM in signals or signal.SIGHUP in signals:
                return None
        if line.fileno() in ready:
            return None


def _reap() -> tuple[int, int] | None:
    """`(pid, status)` of a child that has ended, adopted ones too; None where there is none."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _end_group(host: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(host, signal.SIGKILL)


def sweep() -> None:
    """Kill and reap all descendants, also those in sessions of their own, until the kernel knows of no child.

    Orphans are adopted, so each descendant becomes a child in the end. A listing alone proves nothing: it leaves out a
    process whose parent ends while it is made.
    """
    me = psutil.Process()
    end: float | None = None
    while _has_children():
        for child in me.children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        while _reap() is not None:
            pass
        # On a busy machine a listing alone may take longer than the limit: it begins once the first is worked off.
        if end is None:
            end = clock.monotonic() + _SWEEP_LIMIT
        elif clock.monotonic() >= end:
            return
        clock.sleep(0.005)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
