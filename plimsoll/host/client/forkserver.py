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
from plimsoll.errors import reason_of
from plimsoll.extras import install_command
from plimsoll.host.client.leash import Exit, Leash
from plimsoll.host.failures import HostStartError, StackImportError
from plimsoll.suspension import STEP, Patience

# The path is the controller's: what pytest could import, a host can. -P keeps the working folder out until then.
_BOOT: Final = (
    "import json, sys; order = json.loads(sys.stdin.readline()); sys.path[:] = order['path']; "
    "from plimsoll.host.server.forkserver import main; main(order['modules'], order['address'])"
)
STACK: Final = "plimsoll.host.server.preload"
"""The module that imports the model stack in the fork server."""
IMPORT_LIMIT: Final = 600.0
"""Seconds for all imports: a cold disk takes a minute or two."""
_FORK_LIMIT: Final = 30.0
"""Seconds from the order to the host's pid; a loaded machine needs a few hundredths."""
_STOP_LIMIT: Final = 5.0
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


class ServerGoneError(Exception):
    """The fork server ended before it could do what was asked."""


class _Line:
    """One process's connection to a fork server: it asks for hosts, and gets them."""

    def __init__(self, control: socket.socket, import_limit: float) -> None:
        self._control = control
        self._import_limit = import_limit
        self._ready = False

    @property
    def is_alive(self) -> bool:
        """False once the server has ended."""
        raise NotImplementedError

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
                order = {"name": name, "threads": threads, **self._surroundings(environment)}
                text = json.dumps(order).encode() + b"\n"
                sent = socket.send_fds(self._control, [text], [channel.fileno(), theirs.fileno(), log])
                self._control.sendall(text[sent:])
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

    def dismiss(self) -> None:
        """Ask for no more hosts, which a server of ours takes for its end; hosts that there are live on."""
        self._control.close()

    def stop(self) -> None:
        """The same, and wait until a server of ours has ended. Safe to call again."""
        self.dismiss()

    def _surroundings(self, environment: Mapping[str, str]) -> dict[str, object]:
        return {"environment": dict(environment)}

    def _why_not(self, name: str, leash: Leash) -> Exception:
        if leash.fault is not None:
            return HostStartError(f"no host for {name}: {leash.fault}")
        if leash.exit is None:
            return HostStartError(f"no host for {name}: the fork server did not react for {_FORK_LIMIT:g} s")
        if leash.exit.is_known:
            return HostStartError(f"no host for {name}: it ended before it was ready: {leash.exit}; its log says more")
        if self._has_ended():
            return ServerGoneError()
        return HostStartError(f"no host for {name}: its supervisor ended before it was ready; its log says more")

    def _has_ended(self) -> bool:
        """Whether the server is gone, or goes within a few seconds."""
        raise NotImplementedError

    def _await_ready(self) -> None:
        if not self._first_answer().get("ready"):
            raise ServerGoneError
        self._ready = True

    def _first_answer(self) -> dict[str, dict[str, str]]:
        """`{"ready": ...}`, `{"failed": ...}`, or nothing where the process ended without a word: with something that
        it never read (the order, or who waited to join), the system tells its end as a reset."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        text = b""
        patience = Patience(self._import_limit)
        while not text.endswith(b"\n"):
            left = patience.left()
            if not poller.poll(max(0.0, min(left, STEP)) * 1000):
                if left <= 0:
                    raise self._too_slow()
                continue
            try:
                data = self._control.recv(65536)
            except ConnectionError:
                return {}
            if not data:
                return {}
            text += data
        answer: dict[str, dict[str, str]] = json.loads(text)
        return answer

    def _too_slow(self) -> StackImportError:
        return StackImportError(
            f"no host can be started: importing the model stack took longer than {self._import_limit:g} s"
        )


class JoinedServer(_Line):
    """The fork server of another process of ours, which listens at an address: what it has imported need not be
    imported again. Hosts have the environment and the working folder of this process.

    Raises ServerGoneError where nobody listens.
    """

    def __init__(self, address: Path, import_limit: float) -> None:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(str(address))
        except OSError as error:
            control.close()
            raise ServerGoneError from error
        super().__init__(control, import_limit)

    @property
    def is_alive(self) -> bool:
        """False once the server has ended, or this line to it is closed."""
        try:
            return not self._ready or self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _surroundings(self, environment: Mapping[str, str]) -> dict[str, object]:
        return {**super()._surroundings(environment), "whole_environment": dict(os.environ), "folder": str(Path.cwd())}

    def _has_ended(self) -> bool:
        end = clock.monotonic() + _STOP_LIMIT
        while self.is_alive and clock.monotonic() < end:
            clock.sleep(0.05)
        return not self.is_alive


class ForkServer(_Line):
    """One running fork server. Importing begins at once, in the background; `fork` waits for it.

    Other processes of ours may join it at `address`, a path for a socket that only this user can reach; None for none.
    Raises HostStartError where the system refuses the process.
    """

    def __init__(self, modules: Sequence[str], import_limit: float, address: Path | None = None) -> None:
        control, theirs = socket.socketpair()
        super().__init__(control, import_limit)
        self._kept = _kept_from_imports()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the server runs
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
            raise HostStartError(f"no host can be started: {sys.executable}: {reason_of(error)}") from None
        finally:
            theirs.close()
        order = {
            "path": [entry or str(Path.cwd()) for entry in sys.path],
            "modules": list(modules),
            "address": None if address is None else str(address),
        }
        with suppress(ConnectionError):  # where it has died already, `fork` says how
            self._control.sendall(json.dumps(order).encode() + b"\n")

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def dismiss(self) -> None:
        """Ask for no more hosts. A server that still imports has forked none, and would hear of its end only when it is
        done: it is killed."""
        if self.is_importing:
            self._kill()
        super().dismiss()

    def stop(self) -> None:
        """End the server; hosts that it forked live on. Safe to call again."""
        self.dismiss()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_LIMIT)
        finally:  # a Ctrl-C while it is waited for leaves no process that nobody waits for
            if self.is_alive:
                self._kill()
                self._process.wait()
            self._output.close()

    @property
    def is_importing(self) -> bool:
        """False once it has said that it is ready, or why not."""
        if self._ready or not self.is_alive:
            return False
        try:
            self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:  # dismissed
            return False
        return False

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

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

    def _surroundings(self, environment: Mapping[str, str]) -> dict[str, object]:
        return super()._surroundings({**self._kept, **environment})

    def _has_ended(self) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_LIMIT)
            return True
        return False

    def _too_slow(self) -> StackImportError:
        self._process.kill()
        return super()._too_slow()

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
