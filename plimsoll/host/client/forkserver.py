"""The controller's side of the fork server: the process that has imported the model stack and forks hosts from it.

It is our own and not the standard library's, whose fork server is one a process, shared with whoever else uses it,
swallows the ImportError of a module to preload, and has each child run the main script again
(docs/decisions/hosts.md).
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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.extras import install_command
from plimsoll.host.client.leash import Exit, Leash
from plimsoll.host.failures import HostStartError, StackImportError

# The path is the controller's: what pytest could import, a host can. -P keeps the working folder out until then.
_BOOT: Final = (
    "import json, sys; order = json.loads(sys.stdin.readline()); sys.path[:] = order['path']; "
    "from plimsoll.host.server.forkserver import main; main(order['modules'])"
)
_FORK_LIMIT: Final = 30.0
"""Seconds from the order to the host's pid; a loaded machine needs a few hundredths."""
_STOP_LIMIT: Final = 5.0
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


class ServerGoneError(Exception):
    """The fork server ended before it could do what was asked."""


class ForkServer:
    """One running fork server. Importing begins at once, in the background; `fork` waits for it.

    Raises HostStartError where the system refuses the process.
    """

    def __init__(self, modules: Sequence[str], import_limit: float) -> None:
        self._import_limit = import_limit
        self._ready = False
        self._kept = _kept_from_imports()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the server runs
        self._control, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
                [sys.executable, "-P", "-c", _BOOT],
                stdin=theirs.fileno(),
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name not in self._kept},
            )
        except OSError as error:
            self._control.close()
            self._output.close()
            raise HostStartError(f"no host can be started: {sys.executable}: {error.strerror or error}") from None
        finally:
            theirs.close()
        order = {"path": [entry or str(Path.cwd()) for entry in sys.path], "modules": list(modules)}
        with suppress(BrokenPipeError):  # where it has died already, `fork` says how
            self._control.sendall(json.dumps(order).encode() + b"\n")

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def fork(
        self, name: str, threads: int | None, channel: socket.socket, log: int, environment: Mapping[str, str]
    ) -> Leash:
        """A new host that talks over `channel` (its end), writes to the descriptor `log`, and has this environment in
        addition to ours.

        Raises StackImportError where importing failed, HostStartError where no process can be made, ServerGoneError
        where the server has ended.
        """
        if not self._ready:
            self._await_ready()
        ours, theirs = socket.socketpair()
        leash = Leash(ours)
        try:
            with theirs:
                order = json.dumps(
                    {"name": name, "threads": threads, "environment": {**self._kept, **environment}}
                ).encode()
                socket.send_fds(self._control, [order], [channel.fileno(), theirs.fileno(), log])
            fault = None if leash.await_start(_FORK_LIMIT) else self._why_not(name, leash)
        except OSError as error:
            leash.close()
            raise ServerGoneError from error
        except BaseException:
            leash.close()
            raise
        if fault is not None:
            leash.close()
            raise fault
        return leash

    def _why_not(self, name: str, leash: Leash) -> Exception:
        if leash.fault is not None:
            return HostStartError(f"no host for {name}: {leash.fault}")
        if leash.exit is None:
            return HostStartError(f"no host for {name}: the fork server did not react for {_FORK_LIMIT:g} s")
        if leash.exit.is_known:
            return HostStartError(f"no host for {name}: it ended before it was ready: {leash.exit}; its log says more")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_LIMIT)
            return ServerGoneError()
        return HostStartError(f"no host for {name}: its supervisor ended before it was ready; its log says more")

    def stop(self) -> None:
        """End the server; hosts that it forked live on. Safe to call again."""
        self._control.close()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_LIMIT)
        finally:  # a Ctrl-C while it is waited for leaves no process that nobody waits for
            if self.is_alive:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._output.close()

    def _await_ready(self) -> None:
        answer = self._first_answer()
        if answer.get("ready"):
            self._ready = True
            return
        # What it said is the reason, also where it takes its time to end, as on a busy machine.
        if "failed" in answer:
            raise StackImportError(_import_fault(answer["failed"]))
        try:
            self._process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        how = Exit.of(self._process.returncode)
        raise StackImportError(
            f"no host can be started: importing the model stack ended the process: {how}\n{self._said()}"
        )

    def _first_answer(self) -> dict[str, dict[str, str]]:
        """`{"ready": ...}`, `{"failed": ...}`, or nothing where the process ended without a word."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        text = b""
        end = clock.monotonic() + self._import_limit
        while not text.endswith(b"\n"):
            if not poller.poll(max(0.0, end - clock.monotonic()) * 1000):
                self._process.kill()
                raise StackImportError(
                    f"no host can be started: importing the model stack took longer than {self._import_limit:g} s"
                )
            data = self._control.recv(65536)
            if not data:
                return {}
            text += data
        answer: dict[str, dict[str, str]] = json.loads(text)
        return answer

    def _said(self) -> str:
        self._output.seek(0)
        return "\n".join(self._output.read().decode(errors="replace").splitlines()[-30:])


def _kept_from_imports() -> dict[str, str]:
    """Variables of ours that hosts get and the server does not. Of instances of a split GPU (MIG) torch asks the CUDA
    runtime and not NVML how many there are, which would make CUDA unusable in every fork."""
    visible = os.environ.get(_VISIBLE, "")
    return {_VISIBLE: visible} if "MIG-" in visible else {}


def _import_fault(failed: dict[str, str]) -> str:
    text = f"no host can be started: importing {failed['module']} failed: {failed['kind']}: {failed['message']}"
    if failed["kind"] == "ModuleNotFoundError":
        return f"{text}; install what hosts need: {install_command('models')}"
    return f"{text} ({failed['where']})"
