"""Builds tiny checkpoints, each in a training process of its own, as many side by side as there are processors for.

The caller never imports torch and survives whatever happens to the training. The process gets its job by standard
input, tells its progress by JSON lines on standard output, and does not outlive its parent: not after Ctrl-C, and on
Linux not even after the parent was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event, Lock, Timer
from typing import IO, Any, Final, TypeAlias

import plimsoll
from plimsoll.errors import PlimsollError
from plimsoll.tiny.checkpoint import TrainingFigures
from plimsoll.tiny.recipe import TrainingJob
from plimsoll.units import format_seconds


class Phase(StrEnum):
    """What is being done, in this order; a checkpoint that is in the cache and sound has none of them."""

    WAITING = "waiting"
    """Another process builds the same checkpoint."""
    REPLACING = "replacing"
    """The checkpoint in the cache is damaged; the note says how."""
    STARTING = "starting"
    TRAINING = "training"
    SAVING = "saving"
    CHECKING = "checking"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProgress:
    """One sign of life of one model's build."""

    model: str
    phase: Phase
    seconds: float
    """Since the build was asked for."""
    done: int = 0
    total: int = 0
    """Training steps; 0 in the other phases."""
    note: str = ""


ProgressCallback: TypeAlias = Callable[[BuildProgress], None]

StepCallback: TypeAlias = Callable[[Phase, int, int], None]
"""What training itself reports to: phase, steps done, steps in all."""


Builder: TypeAlias = Callable[[TrainingJob, Path, StepCallback], TrainingFigures]
"""Carries a job out into an empty folder, and reports its steps; raises PlimsollError where that cannot be done."""

DEADLINE: Final = 900.0
"""Seconds after which a build counts as hung; one takes about ten on one core."""

_KEPT_LINES: Final = 6


class BuildError(PlimsollError):
    """A checkpoint could not be built."""


class BuildProcess:
    """A builder that starts one process a job. `cancel` ends those that run, and refuses new ones."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self._cancelled = False

    def __call__(self, job: TrainingJob, folder: Path, report: StepCallback) -> TrainingFigures:
        """Train in a new process. Raises BuildError with the last lines that it wrote."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            process = self._start(log)
            expired = Event()
            watchdog = Timer(self._deadline, _expire, (process, expired))
            watchdog.start()
            try:
                last = _converse(process, {"job": job.to_json(), "folder": str(folder), "parent": os.getpid()}, report)
            finally:
                watchdog.cancel()
                self._end(process)
            if "figures" in last:
                return TrainingFigures(**last["figures"])
            if expired.is_set():
                raise BuildError(f"did not end within {format_seconds(self._deadline)}, and was killed")
            raise BuildError(last.get("error") or _post_mortem(process.returncode, log))

    def cancel(self) -> None:
        """Kill what runs; each of the interrupted calls raises BuildError."""
        with self._lock:
            self._cancelled = True
            for process in self._running:
                process.kill()

    def _start(self, log: IO[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._cancelled:
                raise BuildError("was cancelled")
            process = subprocess.Popen(
                [sys.executable, "-m", "plimsoll.host.server.train_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env=_environment(),
                process_group=0,  # Ctrl-C reaches this process alone, which then ends the build in order
            )
            self._running.add(process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            self._running.discard(process)
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _expire(process: subprocess.Popen[str], expired: Event) -> None:
    expired.set()
    process.kill()


def _environment() -> dict[str, str]:
    """Of the build: one thread, no GPU, no network, and this same plimsoll even where it is not installed."""
    root = str(Path(plimsoll.__file__).resolve().parents[1])
    # An installed plimsoll is found anyway, and naming its folder would put every other package before the standard
    # library.
    paths = [] if root == sysconfig.get_path("purelib") else [root]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
    }


def _converse(process: subprocess.Popen[str], request: Mapping[str, Any], report: StepCallback) -> dict[str, Any]:
    """Send the request and follow the progress; returns the last message, or an empty one where there was none."""
    last: dict[str, Any] = {}
    try:
        if process.stdin is not None:  # a pipe, always; the type cannot say so
            process.stdin.write(json.dumps(request))
            process.stdin.close()
    except BrokenPipeError:
        return last  # it died at once, and its log says why
    for line in process.stdout or ():
        if not line.endswith("\n"):
            break  # killed in the middle of a message
        message = json.loads(line)
        if "phase" in message:
            report(Phase(message["phase"]), message["done"], message["total"])
        else:
            last = message
    process.wait()
    return last


def _post_mortem(status: int, log: IO[str]) -> str:
    """How a process ended that said nothing itself, with the last lines of its log."""
    if status == -signal.SIGKILL:
        how = "was killed by SIGKILL, which is what the system does when memory runs out"
    elif status < 0:
        how = f"was killed by {signal.Signals(-status).name}"
    else:
        how = f"ended with status {status}"
    log.seek(0)
    lines = log.read().strip().splitlines()[-_KEPT_LINES:]
    return "\n".join([how + (":" if lines else " and wrote nothing"), *(f"  | {line}" for line in lines)])
