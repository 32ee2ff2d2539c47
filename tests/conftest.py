"""Fixtures that several of the suite's own tests share, and what lets the tests run on several workers (`-n 2`)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from fixtures.workers import host_threads
from plimsoll.tiny.store import Store
from tests.support import forked_stacks
from tests.support.broken_checkpoints import shipped
from tests.support.fork_servers import SERVERS
from tests.support.forked_sessions import SESSIONS
from tests.support.made_once import recorded_once
from tests.support.subsession import ROOT, Outcome

_LONG_FIRST: Final = ("sessions", "torch", "process", "browser", "simulation", "unit")
"""The groups by how long their files take: what a worker gets last should be short, or the other waits for it."""


settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Make warnings errors. Give this worker's tests, and every process that they start, the worker's share of the
    cores, and Ctrl-C and SIGHUP: who starts the tests in the background of a script, or under nohup, has them ignored,
    and so would all that they start. Take from them what containers set and shells of users do not: streams without a
    buffer hide what fails when one is written out."""
    config.addinivalue_line("filterwarnings", "error")
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _outlive)
    share = host_threads(config)
    if share is not None:
        os.environ["OMP_NUM_THREADS"] = str(share)


def _outlive(*_: object) -> None:
    """Ignore a signal in this process alone."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: those of a packed file hold the second in which it was packed, and workers that collect in
    two seconds would have two tests."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, where files are shared out among workers."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _place(item.path))


def _place(path: Path) -> int:
    group = path.relative_to(ROOT / "tests").parts[0] if path.is_relative_to(ROOT / "tests") else ""
    return _LONG_FIRST.index(group) if group in _LONG_FIRST else len(_LONG_FIRST)


@pytest.fixture(scope="session", autouse=True)
def built_cache(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The user's cache; each worker's tests see a copy of it, for a load by one keeps those of the other from being
    cold."""
    built = Store().folder.parent
    if not hasattr(request.config, "workerinput"):
        yield built
        return
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
        yield built


@pytest.fixture(scope="session", autouse=True)
def forked_from(built_cache: Path, shared_folder: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Share among workers what the tests' sub-sessions, and the hosts of them and of commands, are forked from, and end
    it."""
    forked_stacks.begin_with(os.environ)
    if hasattr(request.config, "workerinput"):
        SESSIONS.begin_with(os.environ)
        SESSIONS.share(shared_folder)
        forked_stacks.share(shared_folder)
    yield
    SESSIONS.end()
    SERVERS.end()
    forked_stacks.end()


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


@pytest.fixture(scope="session")
def shared_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session of tests, the same for all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


FEW_CHECKS: Final = ("-m", "tiny", "-k", "tiny-llama/bf16 and (test_free or stored_bytes or warm_load)")
"""Four checks, of the node, of what a host says and of a timed load; each has figures."""


@pytest.fixture(scope="session")
def recorded(trained: dict[str, Path], shared_folder: Path) -> Outcome:
    """An accepted run of FEW_CHECKS that all tests may read and none may change."""
    outcome = recorded_once(shared_folder / "recorded", *FEW_CHECKS)
    assert outcome.status == 0, outcome.output
    return outcome


@pytest.fixture(scope="session")
def recorded_by_workers(trained: dict[str, Path], shared_folder: Path) -> Outcome:
    """The same by two workers, with junit.xml and the summary of a step of CI where CI wants them: beside `reports`."""
    folder = shared_folder / "recorded-by-workers"
    folder.mkdir(exist_ok=True)
    # Whole before another worker, which may be the one that makes the run, goes on.
    with FileLock(folder / "step.lock"):
        if not (folder / "step.md").exists():
            (folder / "step.md").write_text("# Before")
    asked = (*FEW_CHECKS, "-n", "2", f"--junitxml={folder / 'mine.xml'}")
    outcome = recorded_once(folder, *asked, env={"GITHUB_STEP_SUMMARY": str(folder / "step.md")})
    assert outcome.status == 0, outcome.output
    return outcome
