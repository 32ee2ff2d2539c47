"""The child's side of a process with one job: ends with its parent, and sends lines of JSON."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from threading import Lock
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h."""


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent, whose pid is given, ends, however it ends. Elsewhere
    than on Linux a process may outlive a parent that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the kernel was told
            os.kill(os.getpid(), signal.SIGKILL)


class Outlet:
    """Sends messages, one line each, from any thread. Once it exists, what libraries print goes to standard error: the
    real standard output carries only the protocol."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._lock = Lock()

    def send(self, **message: Any) -> None:
        """Send one message."""
        with self._lock:
            print(json.dumps(message, default=str), file=self._file)
