"""What a build tells while it runs: enough for a live line on a terminal, and for plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


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
class Progress:
    """One sign of life of one model's build."""

    model: str
    phase: Phase
    seconds: float
    """Since the build was asked for."""
    done: int = 0
    total: int = 0
    """Training steps; 0 in the other phases."""
    note: str = ""


ProgressCallback: TypeAlias = Callable[[Progress], None]

StepCallback: TypeAlias = Callable[[Phase, int, int], None]
"""What training itself reports to: phase, steps done, steps in all."""
