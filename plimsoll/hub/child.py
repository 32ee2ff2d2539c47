"""Starts the Hub's own process, listens to it, and ends it: after its last message, when it falls silent, on Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any, Final, cast

import plimsoll
from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.redaction import Redactor
from plimsoll.units import format_seconds

_TICK: Final = 0.25
"""Seconds at most between two signs of life to the caller."""
_GRACE: Final = 2.0
"""Seconds from the request to end to being killed."""
_KEPT_LINES: Final = 6

Message = Mapping[str, Any]


class HubError(PlimsollError):
    """What was asked of the Hub's process was not done."""


class HubSilentError(HubError):
    """Nothing was heard of it for too long."""


def converse(job: Mapping[str, Any], patience: float) -> Generator[Message | None, None, None]:
    """The messages of a process that carries out a job, and None four times a second while there is none.

    Close the generator to end the process. Raises HubError where the process says that it failed and where it died,
    HubSilentError where it was silent for `patience` seconds.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = _start(log)
        try:
            lines = _listen(process, {**job, "parent": os.getpid()})
            # What was said whole is good, however long the process then takes to end, and however it ends.
            if not (yield from _messages(lines, patience)):
                raise HubError(_post_mortem(process, log))
        finally:
            _end(process)


def _start(log: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # -P: a file of the user's working folder must not stand in for a module.
        [sys.executable, "-P", "-m", "plimsoll.hub.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        encoding="utf-8",
        env=_environment(),
        process_group=0,  # Ctrl-C reaches this process alone, which then ends the other in order
    )


def _environment() -> dict[str, str]:
    root = str(Path(plimsoll.__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def _listen(process: subprocess.Popen[str], job: Mapping[str, Any]) -> SimpleQueue[str | None]:
    """The lines of a process as they come, then None."""
    stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    lines: SimpleQueue[str | None] = SimpleQueue()

    def read() -> None:
        for line in stdout:
            lines.put(line)
        lines.put(None)

    with suppress(BrokenPipeError):  # it died at once, and its log says why
        json.dump(job, stdin)
        stdin.close()
    Thread(target=read, daemon=True).start()
    return lines


def _messages(lines: SimpleQueue[str | None], patience: float) -> Generator[Message | None, None, bool]:
    """What is said, and None while nothing is; True in the end where all was said that there was to say."""
    heard = clock.monotonic()
    while True:
        try:
            line = lines.get(timeout=_TICK)
        except Empty:
            if clock.monotonic() - heard > patience:
                raise HubSilentError(f"nothing moved for {format_seconds(patience)}, so it was ended") from None
            yield None
            continue
        if line is None:
            return False
        heard = clock.monotonic()
        message = json.loads(line)
        if "error" in message:
            raise HubError(message["error"])
        if "all_said" in message:
            return True
        yield message


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _post_mortem(process: subprocess.Popen[str], log: IO[str]) -> str:
    """How a process ended that had more to say, with the last lines of its log."""
    try:
        how = f"ended with status {process.wait(_GRACE)}"
    except subprocess.TimeoutExpired:
        how = "closed its output and did not end"
    log.seek(0)
    lines = Redactor.from_environment()(log.read()).strip().splitlines()[-_KEPT_LINES:]
    how = f"the process that speaks to the Hub {how}"
    return "\n".join([how + (":" if lines else " and wrote nothing"), *(f"  | {line}" for line in lines)])
