"""Ends a host: asks for its stacks, asks it to stop, then kills it with everything that it started.

Works on a host that is stopped, that holds the interpreter lock inside native code, or that ignores SIGTERM.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

import psutil

from plimsoll.host.client.leash import Leash
from plimsoll.host.client.log import HostLog

_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_REAP_LIMIT: Final = 30.0
"""Seconds for a killed process to be gone: a driver may take its time to give back the memory of several GPUs."""


def take_stack(pid: int, log: HostLog) -> tuple[str | None, bool]:
    """`(stacks of all threads or None, whether the host was stopped)`. A stopped host is continued to write them."""
    stopped = is_stopped(pid)
    offset = log.size()
    try:
        os.kill(pid, signal.SIGUSR1)
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return None, stopped
    return log.await_stack(offset), stopped


def terminate(pid: int, leash: Leash) -> str:
    """SIGTERM, two seconds, then SIGKILL to the process group; says in words what it took."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if leash.await_exit(_GRACE):
        return "ended by SIGTERM" if leash.exit and leash.exit.signal == "SIGTERM" else "ended when sent SIGTERM"
    return f"SIGTERM did not end it within {_GRACE:g} s, {kill(pid, leash)}"


def kill(pid: int, leash: Leash) -> str:
    """SIGKILL to the process group, waited for until it is reaped; says in words what became of it."""
    leash.let_go()
    if leash.await_exit(_REAP_LIMIT) and leash.exit is not None and leash.exit.is_known:
        return "killed by SIGKILL"
    # The supervisor is stopped or was killed itself, so the controller has to do it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        if leash.supervisor is not None and leash.exit is None:
            os.kill(leash.supervisor, signal.SIGKILL)
    return "killed by SIGKILL, which its supervisor could not confirm"


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped a process; False where it is gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False
