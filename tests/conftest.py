"""Fixtures that several of the suite's own tests share, and what lets the tests run on several workers (`-n 2`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from fixtures.workers import host_threads
from plimsoll.tiny.store import Store
from tests.support.broken_checkpoints import shipped
from tests.support.subsession import ROOT

_LONG_FIRST: Final = ("sessions", "torch", "process", "browser", "simulation", "unit")
"""The groups by how long their files take: what a worker gets last should be short, or the other waits for it."""


def pytest_configure(config: pytest.Config) -> None:
    """Give this worker's tests, and every process that they start, the worker's share of the cores."""
    share = host_threads(config)
    if share is not None:
        os.environ["OMP_NUM_THREADS"] = str(share)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, where files are shared out among workers."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _place(item.path))


def _place(path: Path) -> int:
    group = path.relative_to(ROOT / "tests").parts[0] if path.is_relative_to(ROOT / "tests") else ""
    return _LONG_FIRST.index(group) if group in _LONG_FIRST else len(_LONG_FIRST)


@pytest.fixture(scope="session", autouse=True)
def own_cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """A copy of the built checkpoints for each worker: a load by one would keep those of the other from being cold."""
    if not hasattr(request.config, "workerinput"):
        yield
        return
    built = Store().folder.parent
    built.mkdir(parents=True, exist_ok=True)
    # Beside the built ones, for a temporary folder may lie in memory, where nothing is ever cold.
    with (
        tempfile.TemporaryDirectory(prefix="tests-", dir=built) as own,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("tiny", "predictions"):
            if (built / name).is_dir():
                shutil.copytree(built / name, Path(own, name))
        for path in Path(own).rglob("*"):
            _write_back(path)
        patch.setenv("PLIMSOLL_CACHE", own)
        yield


def _write_back(path: Path) -> None:
    """Have the kernel write a file to its disk, since it drops no page that it has not written."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


@pytest.fixture(scope="session")
def trained() -> dict[str, Path]:
    """The folders of three trained checkpoints, built by the command that users run, where they are not there yet."""
    names = ["tiny-llama", "tiny-qwen", "tiny-mixtral"]
    subprocess.run([sys.executable, "-m", "plimsoll", "tiny", "build", *names], cwd=ROOT, check=True, timeout=300)
    return {name: Store().checkpoint_path(shipped(name)) for name in names}
