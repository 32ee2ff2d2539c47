"""Tells what a process runs in: a next step for a bare machine can be wrong, or harm, in a job or a container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MARKS: Final = (".dockerenv", "run/.containerenv")
"""Files that Docker and Podman put into every container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where something went wrong; all False is a bare machine."""

    container: bool = False
    kubernetes: bool = False
    slurm: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of `next_in` that hold here, the one that decides most first: who schedules before who contains."""
        held = {"kubernetes": self.kubernetes, "slurm": self.slurm, "container": self.container}
        return tuple(name for name, holds in held.items() if holds)


def surroundings_of(environment: Mapping[str, str], root: Path | None = None) -> Surroundings:
    """What the variables of a process say, and the files under `root`, of which None are asked for a process that ran
    elsewhere or before."""
    contained = root is not None and any((root / mark).exists() for mark in _MARKS)
    return Surroundings(
        container=contained or bool({"container", "SINGULARITY_CONTAINER", "APPTAINER_CONTAINER"} & environment.keys()),
        kubernetes="KUBERNETES_SERVICE_HOST" in environment,
        slurm="SLURM_JOB_ID" in environment,
    )


def here() -> Surroundings:
    """What this process runs in."""
    return surroundings_of(os.environ, Path("/"))
