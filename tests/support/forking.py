"""The process that others are forked from (`tests.support.forked`): it forks, tells of ends, and makes of a fork the
process that was ordered."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

from tests.support.forked import LIBRARIES, MODULES, ROOT, SIZE, Forks

SAFE_PATH: Final = "PYTHONSAFEPATH"


class _Forker:
    """Forks a process for each order, until who began it is gone; others that may ask come by the listener. One that is
    shared goes on until they are gone too."""

    def __init__(
        self, control: socket.socket, listener: socket.socket | None, forks: Forks, *, is_shared: bool
    ) -> None:
        self._controls = [control]
        self._owners = [control]
        self._is_shared = is_shared
        self._listener = listener
        self._forks = forks
        self._leashes: dict[int, socket.socket] = {}
        self._children: dict[int, socket.socket] = {}
        # A number that wakes `select` whenever a process ends.
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        self._before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Answer whoever asks."""
        while self._owners:
            listeners = [] if self._listener is None else [self._listener]
            watched: list[socket.socket | int] = [*self._controls, *listeners, self._woken, *self._children.values()]
            ready, _, _ = select.select(watched, [], [])
            if self._woken in ready:
                os.read(self._woken, 4096)
                _tell_of_ended(self._leashes)
            self._end_children_of_the_gone(ready)
            if self._listener in ready:
                assert self._listener is not None
                joined = self._listener.accept()[0]
                self._controls.append(joined)
                self._owners += [joined] * self._is_shared
            for control in [one for one in self._controls if one in ready]:
                self._hear(control)

    def _end_children_of_the_gone(self, ready: Sequence[socket.socket | int]) -> None:
        for pid, leash in list(self._children.items()):
            if pid not in self._leashes:
                del self._children[pid]
            elif leash in ready:  # nothing is ever said there: its parent is gone
                os.kill(pid, signal.SIGTERM)
                del self._children[pid]

    def _hear(self, control: socket.socket) -> None:
        size, descriptors, _, _ = socket.recv_fds(control, SIZE, 4)
        if size:
            order = json.loads(_received(control, int.from_bytes(size, "big")))
            self._fork(order, socket.socket(fileno=descriptors[0]), descriptors[1:])
        else:
            control.close()
            for those in (self._controls, self._owners):
                if control in those:
                    those.remove(control)

    def _fork(self, order: Mapping[str, Any], leash: socket.socket, streams: Sequence[int]) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._let_go(leash, ours)
            if order["may_fork"]:
                self._forks.join(theirs)
            else:
                theirs.close()
            if order["folder"] != str(ROOT):
                for name in self._forks.rewritten:
                    forget(name)
            _end(_run(order, streams))
        theirs.close()
        for stream in streams:
            os.close(stream)
        self._leashes[pid] = leash
        if order["parent"] is not None:
            self._children[pid] = leash
        self._controls.append(ours)
        with suppress(OSError):  # who asked is gone
            leash.sendall(json.dumps({"pid": pid}).encode() + b"\n")

    def _let_go(self, *others: socket.socket) -> None:
        """In a fork: what is this process's alone."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self._before)
        for one in (*self._controls, *others, *self._leashes.values()):
            one.close()
        if self._listener is not None:
            self._listener.close()
        for descriptor in (self._woken, self._wake):
            os.close(descriptor)


def main(prepare: str, address: str, is_shared: bool) -> None:
    """Import what is to be imported, and fork. Standard input is who asks; others find an address, if there is one."""
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:  # noqa: PTH123  it takes a number's place
        os.dup2(nothing.fileno(), 0)
    listener = None
    if address:
        # From before the imports: who joins early waits in its queue. It has its own name only once it listens, for who
        # joins between the two steps would be refused.
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{address}.new")
        listener.listen()
        Path(f"{address}.new").replace(address)
    module, _, function = prepare.partition(":")
    forks: Forks = getattr(importlib.import_module(module), function)()
    gc.collect()
    gc.freeze()
    _Forker(control, listener, forks, is_shared=is_shared).run()
    if is_shared:
        shutil.rmtree(Path(address).parent)


def become(arguments: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """In a fork, what `os.execve` of the interpreter does: this process goes on as one with these arguments."""
    order = {"arguments": arguments, "variables": variables, "folder": str(Path.cwd()), "leads": "", "parent": None}
    _end(_run(order, ()))


def _become(order: Mapping[str, Any], streams: Sequence[int]) -> tuple[str, str]:
    """Make this process the one that is ordered; `-m` or `-c`, and what it is to run."""
    if order["leads"] == "session":
        os.setsid()
    elif order["leads"] == "group":
        os.setpgid(0, 0)
    if order["parent"] is not None:
        os.getppid = lambda: int(order["parent"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.environ.clear()
    os.environ.update(order["variables"])
    os.chdir(order["folder"])
    arguments = list(order["arguments"])
    sys.orig_argv = [sys.executable, *arguments]
    flags = [arguments.pop(0) for _ in range(2) if arguments[0] in ("-P", "-u")]
    kind, what, *rest = arguments
    _open_streams("-u" in flags)
    own = [] if "-P" in flags or os.environ.get(SAFE_PATH) else [order["folder"] if kind == "-m" else ""]
    sys.path[:1] = [*own, *filter(None, os.environ.get(MODULES, "").split(os.pathsep))]
    for folder in filter(None, os.environ.get(LIBRARIES, "").split(os.pathsep)):
        for library in sorted(Path(folder).glob("*.so*")):
            # Whoever asks for it by its name finds it.
            ctypes.CDLL(str(library))
    sys.argv = [kind, *rest]
    return kind, what


def _open_streams(is_unbuffered: bool) -> None:
    """New ones: those of an interpreter that starts are made for what the descriptors lead to."""
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    if is_unbuffered:
        raw = open(1, "wb", 0, closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = io.TextIOWrapper(raw, write_through=True)  # type: ignore[misc]
    else:
        sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)  # type: ignore[misc]  # noqa: SIM115


def _run(order: Mapping[str, Any], streams: Sequence[int]) -> int:
    """Be the interpreter with these arguments; its status."""
    try:
        kind, what = _become(order, streams)
        _run_main(kind, what)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        sys.stderr.write(f"{ended.code}\n")
        return 1
    except KeyboardInterrupt:
        raise  # the interpreter ends by the signal
    except BaseException:  # noqa: BLE001  as an interpreter ends
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(status: int) -> NoReturn:
    """As an interpreter ends, but for taking all objects apart, which would copy every page that the process shares."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
    except OSError:
        status = 120
    os._exit(status)


def _run_main(kind: str, what: str) -> None:
    if kind == "-m":
        if not hasattr(sys.modules.get(what), "__path__"):
            forget(what)
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        whole = ModuleType("__main__")
        sys.modules["__main__"] = whole
        exec(compile(what, "<string>", "exec"), whole.__dict__)  # noqa: S102  that is what -c does


def forget(name: str) -> None:
    """Have a module imported anew by who imports it next."""
    module = sys.modules.pop(name, None)
    package, _, last = name.rpartition(".")
    if module is not None and package in sys.modules and vars(sys.modules[package]).get(last) is module:
        delattr(sys.modules[package], last)


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
            raise EOFError("who asks has ended in the middle of an order")
        data += more
    return data
