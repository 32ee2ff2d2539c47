"""The fork server: imports what hosts need once, then forks one process a host, and does nothing else.

It has a single thread and touches no GPU, so that a fork is a clean copy. It ends when the controller closes its end of
the control socket, or is killed.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import select
import signal
import socket
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from plimsoll.child.exits import hear_of_children
from plimsoll.errors import reason_of
from plimsoll.garbage import keep_all
from plimsoll.host.server import linux
from plimsoll.host.server.supervisor import supervise, sweep

_READY: Final = json.dumps({"ready": True}).encode() + b"\n"


def main(modules: Sequence[str], address: str | None) -> None:
    """Import, say whether that went well, and fork until the controller is gone. Stdin is the control socket; at
    `address` other processes may ask for hosts too."""
    faulthandler.enable()
    linux.set_name("plimsoll-fork")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hear_of_children()
    began = dict(os.environ)
    with socket.socket(fileno=_take_stdin()) as control, _listening(address) as listener:
        # What is kept is left alone by every later collection, so that its pages stay shared with the hosts.
        with keep_all():
            failed = _import(modules)
        control.sendall(json.dumps({"failed": failed}).encode() + b"\n" if failed else _READY)
        if failed:
            return
        # Supervisors report to the controller; here nobody waits for them.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        linux.adopt_orphans()
        _serve(control, listener, began)
        # Every supervisor does so for its own host; this is for one that was stopped or killed.
        sweep()


@contextmanager
def _listening(address: str | None) -> Iterator[socket.socket | None]:
    """A socket at the address, from before the imports: who joins early waits in its queue."""
    if address is None:
        yield None
        return
    # Under its own name only once it listens: who joins between the two steps would be refused.
    unheard = f"{address}.new"
    with suppress(FileNotFoundError):  # of a server before this one, that was killed
        Path(unheard).unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(unheard)
        listener.listen()
        Path(unheard).replace(address)
        yield listener


def _serve(control: socket.socket, listener: socket.socket | None, began: Mapping[str, str]) -> None:
    """Fork for the controller and for all that joined, until the controller is gone."""
    joined: list[socket.socket] = []
    while True:
        lines = [control, *joined]
        ready, _, _ = select.select(lines if listener is None else [*lines, listener], [], [])
        if listener is not None and listener in ready:
            line, _ = listener.accept()
            with suppress(OSError):
                line.sendall(_READY)
            joined.append(line)
        for line in (each for each in lines if each in ready):
            try:
                goes_on = _serve_one(line, [*lines, listener], began)
            except ConnectionError:  # who joined was killed in the middle of an order
                goes_on = False
            if goes_on:
                continue
            if line is control:
                return
            line.close()
            joined.remove(line)


def _serve_one(control: socket.socket, others: Sequence[socket.socket | None], began: Mapping[str, str]) -> bool:
    """Fork one host; False once whoever asks is gone. `began` is the environment that this process began with."""
    text, descriptors, _, _ = socket.recv_fds(control, 65536, 3)
    try:
        while text and not text.endswith(b"\n"):
            more = control.recv(65536)
            text = text + more if more else b""
        if text:
            _fork(json.loads(text), descriptors, others, began)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return bool(text)


def _fork(
    order: dict[str, Any],
    descriptors: Sequence[int],
    others: Sequence[socket.socket | None],
    began: Mapping[str, str],
) -> None:
    channel, leash, log = descriptors
    try:
        if os.fork() == 0:
            for other in others:
                if other is not None:
                    other.close()
            _become_supervisor({"began": began, **order}, channel, leash, log)
    except OSError as error:
        os.write(leash, json.dumps({"fault": f"fork: {reason_of(error)}"}).encode() + b"\n")


def _become_supervisor(order: dict[str, Any], channel: int, leash: int, log: int) -> None:
    """Never returns: the fork server's loop belongs to the parent."""
    code = 1
    try:
        for descriptor in (channel, leash, log):
            os.set_inheritable(descriptor, False)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = supervise(order, channel, leash, log)
    except BaseException:  # noqa: BLE001  nothing may unwind into the loop of the parent
        traceback.print_exc()
    finally:
        os._exit(code)


def _import(modules: Sequence[str]) -> dict[str, str] | None:
    """None, or what failed in words."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001  importing native code fails in any way; all are reported
            traceback.print_exc()
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return {
                "module": module,
                "kind": type(error).__name__,
                "message": str(error),
                "where": f"{frame.filename}:{frame.lineno}",
            }
    return None


def _take_stdin() -> int:
    """What stdin was, under another number; a host that reads stdin finds nothing."""
    taken = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return taken
