"""Runs `plimsoll COMMAND` in the process of the test, with the arguments, folder and environment of a real one.

Hosts that commands start are real processes, but all come from one fork server (`fork_servers`).

That a process passes the status and both streams on is shown with real ones in tests/process/test_cli.py and
tests/process/test_report_command.py. What depends on the process itself (imports, signals, terminals, closed pipes)
starts one too.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from plimsoll.cli import main
from tests.support.fork_servers import SERVERS
from tests.support.subsession import ROOT, environment


def plimsoll(
    *arguments: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder. Raises what the command did not turn into a message: a traceback for a user."""
    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with (
        chdir(cwd),
        mock.patch.dict(os.environ, environment(env), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
        SERVERS.lent(),
    ):
        try:
            status = main(words)
        except SystemExit as ended:  # argparse, for --help and for mistakes
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(["plimsoll", *words], status, out.getvalue(), err.getvalue())
