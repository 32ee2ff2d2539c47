"""Lets a process hear how its children end, whatever it inherited: signals that a parent ignored or blocked stay so.

Under `trap '' CHLD`, which some launchers and first processes of containers have, the kernel reaps children itself:
nobody can wait for them, and Python takes each status that was lost for 0.
"""

from __future__ import annotations

import signal
import threading


def hear_of_children() -> None:
    """Have SIGCHLD as a new process of a login has it: neither ignored nor blocked. A handler that is there stays.

    Does nothing outside of the main thread, which alone may set how signals are taken.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
