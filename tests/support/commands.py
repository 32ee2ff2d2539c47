"""Runs `plimsoll COMMAND` in the process of the test, with the arguments, folder and environment of a real one.

Hosts that commands start are real processes, but those of a file come from one fork server as long as the environment
is the same: each command would import the model stack otherwise, which takes longer than what it is asked for. That
commands start a server of their own and end it, real ones show in tests/process/test_inspect_command.py.

That a process passes the status and both streams on is shown with real ones in tests/process/test_cli.py and
tests/process/test_report_command.py. What depends on the process itself (imports, signals, terminals, closed pipes)
starts one too.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Final
from unittest import mock

from plimsoll.cli import main
from plimsoll.host.client import process
from plimsoll.host.client.forkserver import ForkServer
from tests.support.subsession import ROOT, environment


class _KeptServer(ForkServer):
    """A fork server that goes on when the command ends which asked for it."""

    def stop(self) -> None:
        if not self.is_alive:
            super().stop()


class _Servers:
    """The fork server of the last command. Another environment or path of modules has another one; another folder need
    not: a host that was told a path in words of its controller's folder would not find it."""

    def __init__(self) -> None:
        self._key: object = None
        self._server: ForkServer | None = None

    def take(self, modules: Sequence[str], import_limit: float) -> ForkServer:
        """In place of the class: the server that is there, or a new one."""
        key = (tuple(modules), import_limit, dict(os.environ), [entry or str(Path.cwd()) for entry in sys.path])
        if self._server is None or key != self._key or not self._server.is_alive:
            self.end()
            self._key, self._server = key, _KeptServer(modules, import_limit)
        return self._server

    def end(self) -> None:
        """End it, where there is one."""
        if self._server is not None:
            ForkServer.stop(self._server)
        self._server = None


SERVERS: Final = _Servers()
"""tests/conftest.py ends what is left after each file: other files count the processes that there are."""


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
        mock.patch.object(process, "ForkServer", SERVERS.take),
    ):
        try:
            status = main(words)
        except SystemExit as ended:  # argparse, for --help and for mistakes
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(["plimsoll", *words], status, out.getvalue(), err.getvalue())
