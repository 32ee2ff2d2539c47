"""Builds tiny checkpoints, each in a training process of its own, as many side by side as there are processors for.

The caller never imports torch and survives whatever happens to the training. The process gets its job by standard
input, tells its progress by JSON lines on standard output, and does not outlive its parent: not after Ctrl-C, and on
Linux not even after the parent was killed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

from plimsoll.child.started import Child
from plimsoll.errors import PlimsollError
from plimsoll.suspension import Patience
from plimsoll.tiny.checkpoint import TrainingFigures
from plimsoll.tiny.recipe import TrainingJob
from plimsoll.units import format_seconds


class BuildPhase(StrEnum):
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
    phase: BuildPhase
    seconds: float
    """Since the build was asked for."""
    done: int = 0
    total: int = 0
    """Training steps; 0 in the other phases."""
    note: str = ""


ProgressCallback: TypeAlias = Callable[[BuildProgress], None]

StepCallback: TypeAlias = Callable[[BuildPhase, int, int], None]
"""What training itself reports to: phase, steps done, steps in all."""


Builder: TypeAlias = Callable[[TrainingJob, Path, StepCallback], TrainingFigures]
"""Carries a job out into an empty folder, and reports its steps; raises PlimsollError where that cannot be done."""

DEADLINE: Final = 900.0
"""Seconds after which a build counts as hung; one takes about ten on one core."""

_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
}
"""Of a build: one thread, no GPU, no network."""


class BuildError(PlimsollError):
    """A checkpoint could not be built."""


class BuildProcess:
    """A builder that starts one process a job. `cancel` ends those that run, and refuses new ones."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._running: set[Child] = set()
        self._lock = Lock()
        self._cancelled = False

    def __call__(self, job: TrainingJob, folder: Path, report: StepCallback) -> TrainingFigures:
        """Train in a new process. Raises BuildError with the last lines that it wrote."""
        patience = Patience(self._deadline)
        with self._start() as child:
            try:
                child.send({"job": job.to_json(), "folder": str(folder)})
                for message in child.messages():
                    if patience.left() <= 0:
                        raise BuildError(f"did not end within {format_seconds(self._deadline)}, and was killed")
                    if message is None:
                        continue
                    if "figures" in message:
                        return TrainingFigures(**message["figures"])
                    if "error" in message:
                        raise BuildError(message["error"])
                    report(BuildPhase(message["phase"]), message["done"], message["total"])
                raise BuildError(child.post_mortem())
            finally:
                with self._lock:
                    self._running.discard(child)

    def cancel(self) -> None:
        """Kill what runs; each of the interrupted calls raises BuildError."""
        with self._lock:
            self._cancelled = True
            for child in self._running:
                child.kill()

    def _start(self) -> Child:
        with self._lock:
            if self._cancelled:
                raise BuildError("was cancelled")
            child = Child("plimsoll.host.server.train_process", _ENVIRONMENT)
            self._running.add(child)
        return child
