"""The process that trains: how it fails, how it ends with whoever started it, and several of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from plimsoll.catalogue.entries import Model
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.clock import monotonic, sleep
from plimsoll.tiny.builder import BuildError, BuildPhase, BuildProcess, BuildProgress
from plimsoll.tiny.recipe import training_job
from plimsoll.tiny.store import Store, ensure_all
from tests.support.broken_checkpoints import shipped
from tests.support.running import still_running
from tests.support.subsession import ROOT
from tests.support.tiny_builders import NANO_CATALOGUE, nano


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return nano(tmp_path)


def stub(folder: Path, torch: str) -> str:
    """A PYTHONPATH on which `import torch` runs that code."""
    package = folder / "stub" / "torch"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(torch)
    return str(package.parent)


def fail_with(torch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadline: float = 60.0) -> str:
    """What a build says in whose process `import torch` runs that code."""
    monkeypatch.setenv("PYTHONPATH", stub(tmp_path, torch))
    folder = tmp_path / "target"
    folder.mkdir()
    with pytest.raises(BuildError) as caught:
        BuildProcess(deadline)(training_job(nano(tmp_path)), folder, lambda phase, done, total: None)
    return str(caught.value)


def test_without_torch_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = fail_with("raise ModuleNotFoundError(name='torch')", tmp_path, monkeypatch)
    assert said == f"torch is not installed; install it with: pip install -e '{ROOT}[models]'"


def test_a_crash_is_told_with_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys\nfor line in range(9):\n  print('line', line, file=sys.stderr)\nsys.exit(3)"
    said = fail_with(code, tmp_path, monkeypatch)
    assert said == "\n".join(["ended with status 3:", *(f"  | line {number}" for number in range(3, 9))])


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "was killed by SIGKILL, which is what the system does when memory runs out and wrote nothing"),
        (signal.SIGSEGV, "was killed by SIGSEGV and wrote nothing"),
    ],
)
def test_a_kill_is_told_by_its_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, said: str
) -> None:
    assert fail_with(f"import os; os.kill(os.getpid(), {number.value})", tmp_path, monkeypatch) == said


def test_a_build_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = fail_with("import time; time.sleep(600)", tmp_path, monkeypatch, deadline=1.0)
    assert said == "did not end within 1.000 s, and was killed"


def test_what_libraries_print_does_not_disturb_the_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = fail_with("print('{'); raise ModuleNotFoundError(name='torch')", tmp_path, monkeypatch)
    assert said.startswith("torch is not installed")


def test_failures_are_told_in_full_and_do_not_stop_other_builds(tmp_path: Path) -> None:
    catalogue = tmp_path / "bad.toml"
    text = NANO_CATALOGUE
    first = text.replace("sums", "nowhere").replace('"nano"', '"first"')
    catalogue.write_text(first + text.replace("512", "100").replace('"nano"', '"second"'))
    models = read_catalogue([catalogue]).models
    told: list[str] = []
    with pytest.raises(BuildError) as caught:
        ensure_all(
            Store(tmp_path / "cache"),
            [models["first"], models["second"]],
            jobs=1,
            progress=lambda state: told.append(state.model),
        )
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("  catalogue/corpus/nowhere.toml: there is no corpus 'nowhere' in ")
    assert lines[2] == (
        "the checkpoint of second could not be built: a vocabulary of 100 is too small: bytes and marks alone are 261"
    )
    assert set(told) == {"second"}


@contextmanager
def building(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """`plimsoll tiny build` of two models, and the two processes that it started, which hang and say nothing."""
    hang = f"import os, pathlib, time; pathlib.Path({str(folder)!r}, f'here-{{os.getpid()}}').touch(); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-m", "plimsoll", "tiny", "build", "tiny-llama", "tiny-phi", "--jobs", "2"],
        cwd=ROOT,
        env={**os.environ, "PLIMSOLL_CACHE": str(folder / "cache"), "PYTHONPATH": stub(folder, hang)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        limit = monotonic() + 60
        while len(here := list(folder.glob("here-*"))) < 2:
            assert monotonic() < limit, "the builds did not start"
            sleep(0.05)
        yield process, [psutil.Process(int(path.name.removeprefix("here-"))) for path in here]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process die with its parent")
def test_after_kill_9_no_build_goes_on(tmp_path: Path) -> None:
    with building(tmp_path) as (process, trainers):
        process.kill()
        assert (len(trainers), still_running(trainers, 60)) == (2, [])
    store = Store(tmp_path / "cache")
    assert store.paths() == ()
    assert store.sweep() == 2


def test_after_an_interrupt_no_build_goes_on_and_nothing_is_left(tmp_path: Path) -> None:
    with building(tmp_path) as (process, trainers):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert psutil.wait_procs(trainers, timeout=1)[1] == []
    assert [path.name for path in (tmp_path / "cache" / "tiny").iterdir()] == [".locks"]


def test_an_interrupt_ends_a_wait_for_another_process(tmp_path: Path, model: Model) -> None:
    store = Store(tmp_path)
    locks = store.folder / ".locks"
    locks.mkdir(parents=True)

    def interrupt(state: BuildProgress) -> None:
        assert state.phase is BuildPhase.WAITING
        signal.raise_signal(signal.SIGINT)

    with FileLock(locks / f"{store.checkpoint_path(model).name}.lock"), pytest.raises(KeyboardInterrupt):
        ensure_all(store, [model, shipped("tiny-llama")], jobs=1, progress=interrupt)
    assert store.paths() == ()
