"""Tells where a process runs (container, Slurm, Kubernetes), because the next step for a bare machine may be wrong
there."""

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
    """Where something went wrong; all False for a bare machine."""

    container: bool = False
    kubernetes: bool = False
    slurm: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of `next_in` that apply here, the scheduler before the container."""
        held = {"kubernetes": self.kubernetes, "slurm": self.slurm, "container": self.container}
        return tuple(name for name, holds in held.items() if holds)


def surroundings_of(environment: Mapping[str, str], root: Path | None = None) -> Surroundings:
    """Surroundings as the variables of a process and the files under `root` show them; `root` is None for a process
    that ran elsewhere or earlier."""
    contained = root is not None and any((root / mark).exists() for mark in _MARKS)
    return Surroundings(
        container=contained or bool({"container", "SINGULARITY_CONTAINER", "APPTAINER_CONTAINER"} & environment.keys()),
        kubernetes="KUBERNETES_SERVICE_HOST" in environment,
        slurm="SLURM_JOB_ID" in environment,
    )


def here() -> Surroundings:
    """The surroundings of this process."""
    return surroundings_of(os.environ, Path("/"))
