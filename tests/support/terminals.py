"""Runs a command on a terminal of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from tests.support.subsession import ROOT, environment


def on_a_terminal(*command: object, **env: str) -> tuple[int, str]:
    """Exit status and output of a module that is run on a terminal of its own."""
    main, second = pty.openpty()
    kept = {k: v for k, v in environment().items() if k not in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI")}
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        cwd=ROOT,
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "200", **env},
        stdin=second,
        stdout=second,
        stderr=second,
    ) as process:
        os.close(second)
        data = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other side has closed its end
                break
            data += part
    os.close(main)
    return process.returncode, data.decode("utf-8", "replace")
