"""Runs pip and other build tools; an error carries their last error message as one sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError

_ERROR: Final = "ERROR: "
QUIET: Final = ("--quiet", "--disable-pip-version-check")


def run_or_explain(
    command: Sequence[str], failure: str, *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What a command prints; raises PlimsollError with `failure` and the reason where it fails."""
    done = subprocess.run(  # noqa: S603  pip, with arguments that were made here
        command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PlimsollError(f"{failure}: {_reason(done.stderr)}")
    return done.stdout


def _reason(stderr: str) -> str:
    """The last thing that pip calls an error, or its last words."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    return (errors or lines or ["it said nothing"])[-1]
