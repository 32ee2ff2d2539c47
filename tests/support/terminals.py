"""Runs a command on a terminal of its own; hosts of a run there come from the tests' fork server."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from typing import Final

from tests.support.fork_servers import BELL, Bell
from tests.support.subsession import ROOT, environment

_BELL_SECONDS: Final = 0.05


def on_a_terminal(*command: object, **env: str) -> tuple[int, str]:
    """Exit status and output of a module that is run on a terminal of its own."""
    main, second = pty.openpty()
    around = environment()
    kept = {k: v for k, v in around.items() if k not in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI")}
    words = [str(word) for word in command]
    if words[0] == "pytest":
        words += ["-p", "tests.support.plugins.shared_fork_server"]
    # The server has no terminal, whatever its width; a host has the variables of the run all the same.
    with (
        Bell(around) as bell,
        subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env={**kept, "TERM": "xterm-256color", "COLUMNS": "200", BELL: str(bell.path), **env},
            stdin=second,
            stdout=second,
            stderr=second,
        ) as process,
    ):
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
    os.close(main)
    return process.returncode, data.decode("utf-8", "replace")
