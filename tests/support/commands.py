"""Runs `plimsoll COMMAND` in the process of the test, with the arguments, folder and environment of a real one.

Hosts that commands start are real processes, but all come from one fork server (`fork_servers`), and the pytest that
writes the pages of a run is forked too.

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
from types import SimpleNamespace
from typing import Any
from unittest import mock

from plimsoll.cli import main
from plimsoll.report import pages
from tests.support.fork_servers import SERVERS
from tests.support.forked_sessions import run_python
from tests.support.subsession import ROOT, environment


def _replay(command: list[str], *, cwd: Path, env: Mapping[str, str], timeout: float, **options: Any) -> object:
    """The pytest that writes the pages of a run: forked, where it is that of this checkout."""
    if cwd == ROOT:
        return run_python(*command[1:], env=env, timeout=timeout)
    return subprocess.run(command, cwd=cwd, env=env, timeout=timeout, **options)


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
        mock.patch.object(pages, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": _replay})),
    ):
        try:
            status = main(words)
        except SystemExit as ended:  # argparse, for --help and for mistakes
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(["plimsoll", *words], status, out.getvalue(), err.getvalue())
