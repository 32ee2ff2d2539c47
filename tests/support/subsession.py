"""Real sub-sessions of the suite: pytest in a process of its own, with a catalogue and a reports folder of the test's.

What a test asserts is what a user has in hand afterwards: the exit status, the terminal's lines, the files of the run.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from unittest import mock

import pytest

from tests.support.fork_servers import BELL, Bell
from tests.support.forked_sessions import SESSIONS, ForkedSession, fork_session, run_python
from tests.support.forked_stacks import STACKS, STACKS_ADDRESS

ROOT = Path(__file__).parents[2]
_BELL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished sub-session."""

    status: int
    output: str
    reports: Path

    @property
    def folder(self) -> Path:
        """The run's folder, the newest there is: a run that planned nothing is not the latest. Raises AssertionError,
        with what the sub-session said, where it made none."""
        latest = self.reports / "latest"
        runs = sorted(path for path in self.reports.glob("*-*-*") if path.is_dir() and not path.is_symlink())
        assert runs or latest.is_dir(), f"the sub-session left no run:\n{self.output}"
        return latest.resolve() if latest.is_dir() else runs[-1]

    @property
    def verdict(self) -> str:
        """The word of results.json."""
        return str(self.results["verdict"]["word"])

    @property
    def results(self) -> dict[str, Any]:
        """results.json."""
        data: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return data

    @property
    def events(self) -> list[dict[str, Any]]:
        """The whole lines of evidence.jsonl."""
        return read_events(self.folder / "evidence.jsonl")

    def cell(self, question: str, variant: str) -> dict[str, Any]:
        """The result of one question to one variant. Raises LookupError where it is not in results.json."""
        for cell in self.results["cells"]:
            if cell["variant"] == variant and cell["question"] == question:
                found: dict[str, Any] = cell
                return found
        raise LookupError(f"no check {question}[{variant}] in {[cell['id'] for cell in self.results['cells']]}")


def read_events(path: Path) -> list[dict[str, Any]]:
    """The whole lines of an evidence file; a half-written last one is left out."""
    events = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def command(reports: Path, *arguments: str) -> list[str]:
    """The command line of a sub-session."""
    return [sys.executable, "-m", "pytest", *own_arguments(reports), *arguments]


def own_arguments(reports: Path) -> list[str]:
    """Those that every sub-session has."""
    return [f"--report-dir={reports}", "--color=no"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without what pytest's own session put there, and what would reach a page of CI."""
    unwanted = ("PYTEST_", "COV_", "GITHUB_STEP_SUMMARY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, **(extra or {})}


def _own_cache(reports: Path) -> dict[str, str]:
    """Where pytest keeps what it remembers of this session: in the project's folder it would read, and write anew, the
    names of all checks that any test ever ran."""
    return {"TOX_ENV_DIR": f"{reports}.remembered"}


def pytest_says(
    *arguments: str, env: Mapping[str, str] | None = None, plugins: Sequence[object] = ()
) -> subprocess.CompletedProcess[str]:
    """What pytest answers in the project's folder, inside this process: where nothing is to be run, or nothing can be.

    What runs checks, starts workers or changes the suite by a plugin has a process of its own: `run_suite`.
    """
    said = io.StringIO()
    with (
        chdir(ROOT),
        mock.patch.dict(os.environ, environment(env), clear=True),
        redirect_stdout(said),
        redirect_stderr(said),
    ):
        status = pytest.main(["--color=no", "-p", "no:cacheprovider", *arguments], plugins=list(plugins))
    return subprocess.CompletedProcess(["pytest", *arguments], int(status), said.getvalue(), "")


def pytest_apart(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, where libraries are loaded that this one has otherwise: a driver of GPUs."""
    asked = ("-m", "pytest", "--color=no", "-p", "no:cacheprovider", *arguments)
    return run_python(*asked, env=environment(env), timeout=240, joined=True)


def run_inside(reports: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
    """The same with a reports folder, to which no run is to be added."""
    done = pytest_says(f"--report-dir={reports}", *arguments, env=env)
    return Outcome(status=done.returncode, output=done.stdout, reports=reports)


def run_suite(
    reports: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 240, preexec: Any = None
) -> Outcome:
    """Run the suite to its end. Raises subprocess.TimeoutExpired where it hangs.

    It is forked where it can be, and its hosts come from the tests' fork server, but where limits are set that both are
    to have too.
    """
    variables = {**_own_cache(reports), **environment(env)}
    with Bell(variables) as bell:
        variables[BELL] = str(bell.path)
        if preexec is None:
            arguments = ("-p", "tests.support.plugins.shared_fork_server", *arguments)
        with _session([*own_arguments(reports), *arguments], variables, preexec) as session:
            output = _output_of(session, bell, time.monotonic() + timeout)
    assert session.returncode is not None
    return Outcome(status=session.returncode, output=output, reports=reports)


def _session(
    arguments: list[str], variables: Mapping[str, str], preexec: Any = None, leads: Literal["", "session"] = ""
) -> Session:
    if preexec is None and SESSIONS.can_start(variables):
        return fork_session(arguments, variables, leads=leads)
    return _StartedSession([sys.executable, "-m", "pytest", *arguments], variables, preexec, bool(leads))


class _StartedSession:
    """A session in a process that is started, with a function to call in it first where there is one."""

    def __init__(
        self,
        arguments: list[str],
        variables: Mapping[str, str],
        preexec: Callable[[], object] | None,
        leads: bool,
    ) -> None:
        self._process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=preexec,
            start_new_session=leads,
        )
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def poll(self) -> int | None:
        return self._process.poll()

    def communicate(self, timeout: float) -> str:
        return self._process.communicate(timeout=timeout)[0]

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> _StartedSession:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__(None, None, None)


Session: TypeAlias = ForkedSession | _StartedSession


def _output_of(session: Session, bell: Bell, end: float) -> str:
    while True:
        try:
            return session.communicate(timeout=_BELL_SECONDS)
        except subprocess.TimeoutExpired:
            if time.monotonic() > end:
                session.kill()
                raise
            bell.answer()


def run_until(
    reports: Path,
    seen: Callable[[list[dict[str, Any]]], bool],
    act: Callable[[Session, list[dict[str, Any]]], None],
    *arguments: str,
    starts_all: bool = False,
    timeout: float = 240,
) -> Outcome:
    """Run the suite until its evidence shows something, do something to it, and wait for its end. Hosts, workers and
    all else that it starts are its own, and in a group with it; its fork server is forked, unless it `starts_all`."""
    variables = {**_own_cache(reports), **environment()}
    if not starts_all:
        variables[STACKS_ADDRESS] = str(STACKS.address)
        arguments = ("-p", "tests.support.plugins.forked_servers", *arguments)
    with _session([*own_arguments(reports), *arguments], variables, leads="session") as process:
        end = time.monotonic() + timeout
        evidence = reports / "latest" / "evidence.jsonl"
        while True:
            events = read_events(evidence) if evidence.exists() else []
            if seen(events):
                break
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                output = process.communicate(timeout=timeout)
                raise AssertionError(f"the evidence never showed it; the sub-session said:\n{output}")
            time.sleep(0.02)
        act(process, events)
        output = process.communicate(timeout=timeout)
    assert process.returncode is not None
    return Outcome(status=process.returncode, output=output, reports=reports)


def pids_of_hosts(events: list[dict[str, Any]]) -> list[int]:
    """The processes that the evidence names as hosts."""
    return [event["pid"] for event in events if event["event"] == "host" and event["state"] == "started"]


def interrupt(process: Session, _events: list[dict[str, Any]]) -> None:
    """Ctrl-C: SIGINT to the whole process group, as a terminal sends it."""
    os.killpg(process.pid, signal.SIGINT)


def kill(process: Session, _events: list[dict[str, Any]]) -> None:
    """`kill -9` of pytest alone."""
    process.kill()
