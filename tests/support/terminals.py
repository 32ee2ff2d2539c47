"""Runs a command on a terminal of its own, or where its output leads nowhere, in a process that is forked where it can
be; hosts of a run on a terminal come from the tests' fork server."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from tests.support.fork_servers import BELL, Bell
from tests.support.forked import ForkedProcess
from tests.support.forked_sessions import SESSIONS
from tests.support.subsession import ROOT, environment

_BELL_SECONDS: Final = 0.05


def on_a_terminal(*command: object, **env: str) -> tuple[int, str]:
    """Exit status and output of a module that is run on a terminal of its own. It is started where a variable is read
    at a start, and forked otherwise."""
    return on_a_watched_terminal(lambda _output: None, *command, **env)


def on_a_watched_terminal(look: Callable[[str], object], *command: object, **env: str) -> tuple[int, str]:
    """The same; `look` is called with the output so far whenever there is more of it."""
    main, second = pty.openpty()
    around = environment()
    kept = {k: v for k, v in around.items() if k not in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI")}
    words = [str(word) for word in command]
    if words[0] == "pytest":
        words += ["-p", "tests.support.plugins.shared_fork_server"]
    # The server has no terminal, whatever its width; a host has the variables of the run all the same.
    with Bell(around) as bell:
        variables = {**kept, "TERM": "xterm-256color", "COLUMNS": "200", BELL: str(bell.path), **env}
        process = _process(["-m", *words], variables, second)
        os.close(second)
        data = b""
        while True:
            ready, _, _ = select.select([main], [], [], _BELL_SECONDS)
            if not ready:
                bell.answer()
                continue
            try:
                part = os.read(main, 65536)
            except OSError:  # the other side has closed its end
                break
            data += part
            look(data.decode("utf-8", "replace"))
    status = process.wait()
    os.close(main)
    return status, data.decode("utf-8", "replace")


def _process(arguments: list[str], variables: dict[str, str], terminal: int) -> subprocess.Popen[bytes] | ForkedProcess:
    if SESSIONS.can_start(variables):
        return SESSIONS.start(arguments, variables, [terminal] * 3, may_fork=True)
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=variables, stdin=terminal, stdout=terminal, stderr=terminal
    )


def writing_to(
    output: IO[str], arguments: Sequence[str], variables: Mapping[str, str], timeout: float = 240
) -> tuple[int, str]:
    """Exit status and standard error of `python` with these arguments, whose standard output leads there; it is forked.

    Raises subprocess.TimeoutExpired, and kills it, after so many seconds.
    """
    with Path(os.devnull).open() as nothing, tempfile.TemporaryFile("w+") as error:
        process = SESSIONS.start(arguments, variables, [nothing.fileno(), output.fileno(), error.fileno()])
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
            process.close()
        error.seek(0)
        return status, error.read()
