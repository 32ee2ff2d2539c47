"""What ends a run from outside, by real signals: Ctrl-C, `kill`, `timeout`, a terminal that is closed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.plugins import held
from tests.support.subsession import (
    ROOT,
    Outcome,
    Session,
    command,
    environment,
    pids_of_hosts,
    read_events,
    run_suite,
    run_until,
)

MODEL = ("-m", "tiny", "-k", "tiny-llama/")
STACK = ("-m", "node", "-k", "stack", "acceptance/test_node.py")
"""Six checks of which nothing is loaded."""
ENDED = (signal.SIGTERM, signal.SIGHUP)


def signalled(reports: Path, signals: str, *arguments: str, **options: Any) -> Outcome:
    """A run that is sent signals at named moments."""
    plugin = ("-p", "tests.support.plugins.signalling")
    return run_suite(reports, *STACK, *plugin, *arguments, env={"SIGNALS": signals}, **options)


def has_hosts(events: list[dict[str, Any]]) -> bool:
    return bool(pids_of_hosts(events))


def sending(number: signal.Signals, times: int = 1) -> Callable[[Session, list[dict[str, Any]]], None]:
    """To pytest alone, as `kill` and Kubernetes do."""

    def send(process: Session, _events: list[dict[str, Any]]) -> None:
        for _ in range(times):
            os.kill(process.pid, number)
            time.sleep(0.01)

    return send


def assert_ended_by(outcome: Outcome, reason: str) -> None:
    """The run has all that a run has at its end, and is not green."""
    assert (outcome.status, outcome.verdict) == (2, "INCOMPLETE"), outcome.output
    assert not [cell["id"] for cell in outcome.results["cells"] if cell["outcome"] == "fail"], "a sound node is not red"
    [finish] = [event for event in outcome.events if event["event"] == "finish"]
    assert (finish["exitstatus"], finish["interrupted"], finish["reason"]) == (2, True, reason)
    for name in ("report.html", "junit.xml", "summary.md"):
        assert (outcome.folder / name).stat().st_size


def assert_told(outcome: Outcome, reason: str) -> None:
    """The last lines say what became of it, and how to go on."""
    last = outcome.output.rstrip().splitlines()[-1]
    assert last.startswith("INCOMPLETE over ")
    assert f"the run was cut short: {reason}" in last
    assert f"to run them: pytest --resume={outcome.folder.name}" in outcome.output
    assert "Traceback" not in outcome.output
    assert "INTERNALERROR" not in outcome.output


def assert_gone(pids: list[int]) -> None:
    assert pids, "no process was named, so nothing was shown"
    end = time.monotonic() + 60
    while left := [pid for pid in pids if psutil.pid_exists(pid)]:
        assert time.monotonic() < end, f"still there: {left}"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("number", ENDED, ids=lambda number: number.name)
def test_a_signal_ends_a_run_as_ctrl_c_does(
    number: signal.Signals, workers: tuple[str, ...], trained: dict[str, Path], tmp_path: Path
) -> None:
    children: list[int] = []

    def send(process: Session, events: list[dict[str, Any]]) -> None:
        children.extend(child.pid for child in psutil.Process(process.pid).children(recursive=True))
        sending(number)(process, events)

    outcome = run_until(tmp_path, has_hosts, send, *MODEL, *workers)
    assert_ended_by(outcome, number.name)
    assert_told(outcome, number.name)
    assert_gone([*pids_of_hosts(outcome.events), *children])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_signal_to_every_process_turns_no_check_red(
    workers: tuple[str, ...], trained: dict[str, Path], tmp_path: Path
) -> None:
    """As systemd and Slurm send it: workers and hosts die of it."""

    def send(process: Session, _events: list[dict[str, Any]]) -> None:
        pytests = psutil.Process(process.pid)
        for each in (pytests, *pytests.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # ended by those before it
                each.send_signal(signal.SIGTERM)

    outcome = run_until(tmp_path, has_hosts, send, *MODEL, *workers, starts_all=True)
    assert_ended_by(outcome, "SIGTERM")
    assert_told(outcome, "SIGTERM")
    assert_gone(pids_of_hosts(outcome.events))


@pytest.mark.parametrize("number", ENDED, ids=lambda number: number.name)
def test_one_end_is_often_told_twice(number: signal.Signals, tmp_path: Path) -> None:
    """`timeout` sends to a process and to its group, a shell passes on what its terminal sends."""
    outcome = signalled(tmp_path, f"check={number.name};told-first={number.name};told-last={number.name}")
    assert_ended_by(outcome, number.name)
    assert_told(outcome, number.name)


def test_timeout_of_a_shell_leaves_a_verdict(tmp_path: Path) -> None:
    # Nothing ends the wait but the signal.
    around = environment({held.UNTIL: str(tmp_path / "never")})
    called = ["timeout", "600", *command(tmp_path, *STACK, "-p", held.__name__)]
    evidence = tmp_path / "latest" / "evidence.jsonl"
    with subprocess.Popen(called, cwd=ROOT, env=around, stdout=subprocess.PIPE, text=True) as done:
        end = time.monotonic() + 120
        while not (evidence.exists() and any(event["event"] == "report" for event in read_events(evidence))):
            assert time.monotonic() < end
            time.sleep(0.02)
        done.send_signal(signal.SIGALRM)  # what it sends itself when the time is over
        output, _ = done.communicate(timeout=120)
    outcome = Outcome(status=2, output=output, reports=tmp_path)
    assert done.returncode == 124, "its own"
    assert_ended_by(outcome, "SIGTERM")
    assert_told(outcome, "SIGTERM")


@pytest.mark.parametrize("again", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_second_signal_while_pages_are_written_is_told(again: str, tmp_path: Path) -> None:
    outcome = signalled(tmp_path, f"check=SIGTERM;pages={again}")
    assert (outcome.status, outcome.verdict) == (2, "INCOMPLETE"), outcome.output
    said = f"interrupted once more while pages were written; write them: plimsoll report {outcome.folder.name}"
    assert said in outcome.output
    # Behind it pytest says once more what it was interrupted by.
    assert re.search("^INCOMPLETE over .*the run was cut short: SIGTERM$", outcome.output, re.MULTILINE)


def test_a_signal_while_pages_are_written_is_no_status_of_zero(tmp_path: Path) -> None:
    outcome = signalled(tmp_path, "pages=SIGTERM")
    assert (outcome.status, outcome.verdict) == (6, "ACCEPTED"), outcome.output
    assert f"interrupted while pages were written; write them: plimsoll report {outcome.folder.name}" in outcome.output


def test_a_replay_that_is_interrupted_says_so(tmp_path: Path) -> None:
    run = signalled(tmp_path / "run", "")
    replay = signalled(tmp_path / "again", "pages=SIGINT", f"--replay={run.folder}")
    assert (run.status, replay.status) == (0, 2), replay.output
    assert "Traceback" not in replay.output


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_run_that_is_interrupted_before_it_begins_has_an_end(number: str, tmp_path: Path) -> None:
    outcome = signalled(tmp_path, f"start={number}")
    assert outcome.status == 2, outcome.output
    [finish] = [event for event in outcome.events if event["event"] == "finish"]
    assert (finish["exitstatus"], finish["interrupted"]) == (2, True)
    assert outcome.output.rstrip().splitlines()[-1].startswith("INCOMPLETE over ")
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("again", ["told-first", "told-last"])
def test_a_second_ctrl_c_at_once_leaves_no_evidence_of_a_good_end(again: str, tmp_path: Path) -> None:
    outcome = signalled(tmp_path, f"check=SIGINT;{again}=SIGINT")
    assert_ended_by(outcome, "KeyboardInterrupt")
    assert f"\nINCOMPLETE over {' '.join(STACK)}: " in outcome.output


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("moment", ["unconfigure", "exit"])
def test_an_interrupt_after_the_verdict_changes_no_status(moment: str, number: str, tmp_path: Path) -> None:
    """What the last line said, and the evidence says, holds."""
    outcome = signalled(tmp_path, f"{moment}={number}")
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    assert outcome.output.rstrip().splitlines()[-1].startswith("ACCEPTED over ")


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.1])
def test_ctrl_c_at_the_verdicts_line_changes_no_status(pause: float, tmp_path: Path) -> None:
    """In an interpreter of its own, which takes a while to end."""
    with subprocess.Popen(
        command(tmp_path, *STACK), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ACCEPTED"):
                time.sleep(pause)
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert process.returncode == 0


def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    outcome = signalled(tmp_path, "check=SIGHUP", preexec=ignore)
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output


def test_only_a_run_hears_of_signals(tmp_path: Path) -> None:
    """`--collect-only` is ended by them as any program."""
    outcome = signalled(tmp_path, "start=SIGTERM", "--collect-only")
    assert outcome.status in (-signal.SIGTERM, 128 + signal.SIGTERM), outcome.output


def test_handlers_of_others_stay_and_none_of_the_runs_does(tmp_path: Path) -> None:
    """In a program that calls pytest as a library."""
    script = (
        "import signal, sys, pytest\n"
        "own = lambda *_: None\n"
        "signal.signal(signal.SIGTERM, own)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        f"status = pytest.main({command(tmp_path, *STACK)[3:]!r})\n"
        "assert signal.getsignal(signal.SIGTERM) is own\n"
        "assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment(), check=False)
    assert done.returncode == 0


def test_a_program_that_exits_by_a_handler_of_its_own_turns_no_check_red(tmp_path: Path) -> None:
    """A program around pytest that ends by sys.exit: what it raises is no failure of the check that runs."""
    script = (
        "import os, signal, sys, pytest\n"
        "class Sends:\n"
        "    def pytest_runtest_call(self): os.kill(os.getpid(), signal.SIGTERM)\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        f"sys.exit(pytest.main({command(tmp_path, *STACK)[3:]!r}, plugins=[Sends()]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment(), check=False, capture_output=True)
    outcome = Outcome(status=done.returncode, output=done.stdout.decode(), reports=tmp_path)
    assert_ended_by(outcome, "SIGTERM")


@pytest.mark.parametrize("number", ENDED, ids=lambda number: number.name)
def test_a_signal_is_no_failure_for_a_debugger(number: signal.Signals, tmp_path: Path) -> None:
    """With --pdb pytest makes a failure of an interrupted check, and opens the debugger."""
    outcome = signalled(tmp_path, f"call={number.name}", "--pdb")
    assert_ended_by(outcome, number.name)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_terminal_that_is_closed_costs_lines_and_no_report(
    workers: tuple[str, ...], trained: dict[str, Path], tmp_path: Path
) -> None:
    """The kernel sends SIGHUP, and takes nothing that is written from then on (EIO)."""
    main, second = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(second, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        command(tmp_path, *MODEL, *workers),
        cwd=ROOT,
        env={**environment(), "TERM": "xterm-256color"},
        stdin=second,
        stdout=second,
        stderr=second,
        start_new_session=True,
        preexec_fn=take_terminal,
    ) as process:
        os.close(second)
        evidence = tmp_path / "latest" / "evidence.jsonl"
        end = time.monotonic() + 120
        os.set_blocking(main, False)
        while not (evidence.exists() and has_hosts(read_events(evidence))):
            assert process.poll() is None
            assert time.monotonic() < end
            try:
                os.read(main, 65536)
            except BlockingIOError:
                time.sleep(0.02)
        os.close(main)
        status = process.wait(timeout=120)
    outcome = Outcome(status=status, output="", reports=tmp_path)
    assert_ended_by(outcome, "SIGHUP")
    assert_gone(pids_of_hosts(outcome.events))
