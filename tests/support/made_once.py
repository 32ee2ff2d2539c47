"""What several tests, or several sessions of tests, need and none changes is made by the first that asks for it.

Workers of one session wait for each other behind a lock of the folder's. A test that changes something takes a copy.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from tests.support.subsession import Outcome, run_suite


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made by `make` unless it is there; a `make` that fails leaves none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(prefix="half-", dir=folder.parent) as half:
                made = Path(half, folder.name)
                make(made)
                made.rename(folder)
    return folder


def recorded_once(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
    """A run of the suite whose reports lie in the folder for all tests that read them."""
    folder.mkdir(parents=True, exist_ok=True)
    said, reports = folder / "said.json", folder / "reports"
    with FileLock(folder / "lock"):
        # Evidence names its own place, so the folder cannot be renamed when it is whole: this file says that it is.
        if not said.exists():
            outcome = run_suite(reports, *arguments, env=env)
            said.write_text(json.dumps([outcome.status, outcome.output]))
    status, output = json.loads(said.read_text())
    return Outcome(status=status, output=output, reports=reports)
