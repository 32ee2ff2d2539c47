"""Isolates a forked process as a host: its own session, its output in its log, its stacks on request."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from plimsoll.child.inside import end_with_parent
from plimsoll.host.server import linux
from plimsoll.host.server.listening import OnceEach
from plimsoll.host.server.serve import serve


def become_host(order: dict[str, Any], channel: int, leash: int, log: int, supervisor: int) -> NoReturn:
    """Answer requests until the controller closes the channel; never returns."""
    code = 1
    try:
        os.setsid()
        _reset_signals()
        end_with_parent(supervisor)
        linux.set_name(order["name"])
        linux.be_first_to_go()
        _log_to(log)
        # A core of a loaded model is as large as the model.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if "whole_environment" in order:
            _take_surroundings(order)
        # Before anything asks for a GPU: CUDA reads its variables once, and nothing of the fork server has asked.
        os.environ.update(order["environment"])
        if order["threads"] is not None:
            _limit_threads(order["threads"])
        # Only now: before, a SIGUSR1 that asks for stacks would have ended this process.
        os.write(leash, json.dumps({"pid": os.getpid(), "supervisor": supervisor}).encode() + b"\n")
        os.close(leash)
        with socket.socket(fileno=channel) as connection:
            serve(connection)
        code = 0
    except BaseException:  # noqa: BLE001  nothing may unwind into the supervisor's code
        traceback.print_exc()
    finally:
        _flush()
        # Not sys.exit: exit handlers were registered for the fork server, and native libraries crash in theirs.
        os._exit(code)


def _take_surroundings(order: dict[str, Any]) -> None:
    """Have the environment and the folder of the process that asked, where another one started the fork server. What
    importing has set stays."""
    for name in order["began"].keys() - order["whole_environment"].keys():
        os.environ.pop(name, None)
    os.environ.update(order["whole_environment"])
    os.chdir(order["folder"])


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's business


def _log_to(log: int) -> None:
    """Output line by line, so that the last words of a killed host are there; stacks on SIGUSR1 and fatal signals.

    Stacks have a descriptor to themselves: they must come also when a library has closed or moved stderr.
    """
    os.dup2(log, 1)
    os.dup2(log, 2)
    # New streams: the fork server's were made for a file, and ask where in it they are, which a pipe does not know.
    out, err = _stream(1), _stream(2)
    vars(sys).update(stdout=out, __stdout__=out, stderr=err, __stderr__=err)
    # The handler of all loggers that have none of their own.
    if logging.lastResort is not None:
        logging.lastResort.addFilter(OnceEach())
    faulthandler.enable(file=log, all_threads=True)
    faulthandler.register(signal.SIGUSR1, file=log, all_threads=True)


def _stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _limit_threads(count: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the disk is full; what could be written is there
            stream.flush()
