"""Runs one step of a campaign until it is done or its time is up, and keeps what it left.

pytest is interrupted as by Ctrl-C, so that its evidence has an end, and killed only where that does not help. Evidence
of a run that was cut short stays in the working folder, and the next run goes on with it by `--resume`; what is kept
under `reports/reference` is the same evidence without what names the machine.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.campaign.progress import StepState, is_whole, verdict_of
from benchmarks.campaign.stages import Step
from benchmarks.portable_evidence import HOST, portable
from benchmarks.synthetic_row import ROOT
from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import EVIDENCE_FILE, RESUMED_FOLDER
from plimsoll.evidence.run_folder import LATEST

_GRACE: Final = 30
"""Seconds for the end of hosts, evidence and reports after an interrupt."""
_USAGE: Final = 4
"""pytest's status where it refuses what it was told, such as a run that cannot be gone on with."""
_PR_SET_PDEATHSIG: Final = 1
_LOCK: Final = ".lock"


def run_step(step: Step, out: Path, work: Path, seconds: float, *, rehearse: bool) -> StepState:
    """Run a step for at most so many seconds, and keep its state and evidence in `out/<id>`; the new state."""
    folder, reports = out / step.id, work / step.id
    begin = clock.monotonic()
    with _alone(reports, seconds) as lock:
        return _run_alone(step, folder, reports, seconds - (clock.monotonic() - begin), lock, rehearse=rehearse)


def _run_alone(step: Step, folder: Path, reports: Path, seconds: float, lock: int, *, rehearse: bool) -> StepState:
    state = StepState.read(folder)
    if not step.output and _is_done(reports):
        # What a killed campaign had started came to its end all the same.
        state = _keep(state, reports, folder)
        state.write(folder)
        return state
    command = [sys.executable, *_arguments(step, reports, rehearse=rehearse)]
    state = replace(state, command=_shown(command), attempts=state.attempts + 1, exit=None, said="")
    # Before it starts: a kill leaves a step that was tried, and not one that nobody heard of.
    state.write(folder)
    begin = clock.monotonic()
    output = folder / step.output if step.output else None
    status = _run(command, seconds, output, lock)
    if status == _USAGE and any(argument.startswith("--resume=") for argument in command):
        # Another node or another stack: what was measured there stands under no common verdict with this.
        (reports / LATEST).unlink()
        state = replace(state, said="could not go on with what was there, and began anew")
        command = [sys.executable, *_arguments(step, reports, rehearse=rehearse)]
        status = _run(command, seconds - (clock.monotonic() - begin), output, lock)
    state = replace(state, seconds=round(state.seconds + clock.monotonic() - begin, 1), exit=status)
    if output is None:
        state = _keep(state, reports, folder)
    else:
        _unnamed(output)
    state.write(folder)
    return state


def _arguments(step: Step, reports: Path, *, rehearse: bool) -> list[str]:
    arguments = list(step.command(rehearse=rehearse))
    if step.output:
        return arguments
    going_on = _unfinished(reports)
    resume = [] if going_on is None else [f"--resume={going_on}"]
    return ["-m", "pytest", f"--report-dir={reports}", *arguments, *resume]


def _unfinished(reports: Path) -> Path | None:
    """The newest run, where it is one that can be gone on with."""
    latest = reports / LATEST
    return None if verdict_of(latest) is None or _is_done(reports) else latest.resolve()


@contextmanager
def _alone(reports: Path, seconds: float) -> Iterator[int]:
    """A lock that this campaign and the command that it starts hold until both have ended, as a file descriptor: what a
    killed campaign had started may not have ended yet. Raises PlimsollError where that takes longer."""
    reports.mkdir(parents=True, exist_ok=True)
    lock = os.open(reports / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        end = clock.monotonic() + seconds
        while not _locked(lock):
            if clock.monotonic() > end:
                raise PlimsollError(f"an earlier run of this step does not end: see what holds {reports / _LOCK}")
            clock.sleep(0.2)
        yield lock
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_done(reports: Path) -> bool:
    verdict = verdict_of(reports / LATEST)
    return verdict is not None and is_whole(verdict)


def _run(command: Sequence[str], seconds: float, output: Path | None, lock: int) -> int | None:
    """The exit status of a command that may take so many seconds; None where it was ended for taking more."""
    target = None if output is None else output.open("wb")
    # Not in a session of its own: whoever ends this campaign's process group ends what it started.
    process = subprocess.Popen(command, cwd=ROOT, stdout=target, pass_fds=(lock,), preexec_fn=_end_with(os.getpid()))
    try:
        return process.wait(timeout=max(seconds, 1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None
    finally:
        if target is not None:
            target.close()


def _end_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes the command: ask the kernel to be interrupted when this campaign is killed,
    for two runs of one step would measure each other."""

    def ask() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(130)

    return ask


def _keep(state: StepState, reports: Path, folder: Path) -> StepState:
    """Copy the evidence of the newest run, and of those that it goes on with; the state with what it came to."""
    run = (reports / LATEST).resolve()
    if not (run / EVIDENCE_FILE).is_file():
        return replace(state, said=state.said or "left no evidence")
    shutil.rmtree(folder / RESUMED_FOLDER, ignore_errors=True)
    files = [*sorted((run / RESUMED_FOLDER).glob("*.jsonl"), key=_started), run / EVIDENCE_FILE]
    digests: dict[str, str] = {}
    for file in files:
        raw = file.read_bytes()
        text = raw[: raw.rfind(b"\n") + 1].decode("ascii")
        for found, made in digests.items():
            # A run names what it goes on with by its digest, and that is another one without names.
            text = text.replace(found, made)
        text = portable(text, ROOT, reports)
        digests[hashlib.sha256(raw).hexdigest()] = hashlib.sha256(text.encode("ascii")).hexdigest()
        target = folder / file.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "ascii")
    verdict = verdict_of(folder)
    said = "its evidence cannot be read" if verdict is None else verdict.statement
    return replace(state, said="; ".join(filter(None, (state.said, said))))


def _started(file: Path) -> str:
    """When a run began: its first line says so, and runs that go on come later."""
    with file.open(encoding="ascii") as lines:
        return str(json.loads(lines.readline()).get("started", ""))


def _unnamed(output: Path) -> None:
    """Take the name of the machine out of what a command printed about it."""
    try:
        data = json.loads(output.read_text("utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(data, dict) and "hostname" in data:
        output.write_text(json.dumps(data | {"hostname": HOST}, indent=1) + "\n", "utf-8")


def _shown(command: Sequence[str]) -> str:
    """The command as one types it, without what is so on this machine alone."""
    shown = ["python", *(word for word in command[1:] if not word.startswith(("--report-dir=", "--resume=")))]
    return shlex.join(shown)
