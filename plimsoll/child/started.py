"""The parent's side of a process with one job: starts it, listens to it, ends it, and says how it died.

Hosts are different: they are forked, serve many requests, and have a supervisor.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any, Final, Self, TypeAlias, cast

import plimsoll
from plimsoll.redaction import Redactor

_TICK: Final = 0.25
"""The most seconds between two values from `messages`."""
_KEPT_LINES: Final = 6
_ENDING: Final = 2.0
"""Seconds that a process has to end by itself after its last message."""

Message: TypeAlias = Mapping[str, Any]


class Child:
    """A process that runs a module of ours (`plimsoll.child.inside` is its side) with its standard error in a file.

    Leaving the context ends it at once, and waits for whatever else still holds its output: see
    `plimsoll.hub.partial_files`. Raises OSError where no process can be started.
    """

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed on leaving
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
                # -P: a file of the user's working folder must not stand in for a module.
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": python_path(), **(environment or {})},
                process_group=0,  # Ctrl-C reaches only this process, which then ends the child properly
            )
        except OSError:
            self._log.close()
            raise
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(_ENDING)
        for file in (self._process.stdin, self._process.stdout, self._log):
            # The rest of the job, which it did not read, is no longer needed.
            with suppress(BrokenPipeError):
                cast("IO[str]", file).close()

    def send(self, job: Mapping[str, Any]) -> None:
        """Send the job, once, with the pid of this process as `parent`."""
        stdin = cast("IO[str]", self._process.stdin)
        with suppress(BrokenPipeError):  # it died at once, and its log says why
            json.dump({**job, "parent": os.getpid()}, stdin)
            stdin.close()

    def messages(self) -> Iterator[Message | None]:
        """Its messages until it closes its output, and None four times a second while there is none."""
        while True:
            try:
                line = self._lines.get(timeout=_TICK)
            except Empty:
                yield None
                continue
            if line is None or not line.endswith("\n"):  # killed in the middle of a message
                return
            yield json.loads(line)

    def kill(self) -> None:
        """End it at once; its messages then end. May be called from another thread."""
        self._process.kill()

    def post_mortem(self) -> str:
        """How a child ended before its work was done, with the last lines of its log, without secrets."""
        try:
            how = _told(self._process.wait(_ENDING))
        except subprocess.TimeoutExpired:
            how = "closed its output and did not end"
        self._log.seek(0)
        lines = Redactor.from_environment()(self._log.read()).strip().splitlines()[-_KEPT_LINES:]
        return "\n".join([how + (":" if lines else " and wrote nothing"), *(f"  | {line}" for line in lines)])

    def _read(self) -> None:
        for line in cast("IO[str]", self._process.stdout):
            self._lines.put(line)
        self._lines.put(None)


def _told(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed by SIGKILL, which is what the system does when memory runs out"
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def python_path() -> str:
    """The value of PYTHONPATH with which a process finds this same plimsoll, even where it is not installed."""
    root = str(Path(plimsoll.__file__).resolve().parents[1])
    # An installed plimsoll is found anyway, and naming its folder would put every other package before the standard
    # library.
    paths = [] if root == sysconfig.get_path("purelib") else [root]
    return os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
