"""Runs that are stopped and continued as a whole, as batch systems and container engines do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Call
from plimsoll.suspension import stood_still

ROOT = Path(__file__).parents[2]
TIMEOUT = 120.0
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")
PATIENT = """
import sys, time
from plimsoll.suspension import STEP, Patience, stood_still
patience = Patience(3600)
print("waits", flush=True)
while not patience.stopped:
    time.sleep(STEP)
    patience.left()
print(patience.stopped, patience.left(), stood_still())
"""
BUSY = """
import os, time
from plimsoll import suspension
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
suspension._LEAST = 0.5
print("begins", flush=True)
patience = suspension.Patience(3600)
end = time.process_time() + 1
while time.process_time() < end:
    pass
patience.left()
print(patience.stopped)
"""
STOPPED = 3.0
DEADLINE = 8.0
"""Seconds that a host is given, of which a slow machine may take the most; a stop lasts longer than all."""
CONTROLLER = f"""
import json, sys
from pathlib import Path
from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Call
told, asked = [], []
def tick(seconds, resident):
    if not asked:
        asked.append(print("asks", flush=True))
with Hosts(stack=None, on_event=lambda state, fields: told.append(fields)) as hosts:
    host = hosts.start("waiting", Path(sys.argv[1]))
    print("is there", flush=True)
    sys.stdin.readline()
    waiting = Call(target="tests.support.host_targets:await_file", arguments={{"path": sys.argv[2]}})
    answer = host.ask(waiting, {DEADLINE}, tick)
    print(json.dumps([answer, told[-1].get("suspended", 0.0)]), flush=True)
"""

RANKS = f"""
import json, subprocess, sys
from plimsoll.host.client.torchrun import _status
from plimsoll.suspension import Patience
waits = "import sys; from tests.support.host_targets import await_file; print(await_file(sys.argv[1]), file=sys.stderr)"
child = subprocess.Popen([sys.executable, "-c", waits, sys.argv[2]], stdin=subprocess.DEVNULL)
print("is there", flush=True)
sys.stdin.readline()
patience = Patience({DEADLINE})
print("asks", flush=True)
print(json.dumps(["it is there" if _status(child, patience) == 0 else "", patience.stopped]))
"""

Start: TypeAlias = "Callable[..., subprocess.Popen[str]]"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start code in a process of its own, and wait for its first line; it is gone afterwards."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline(), started[-1].communicate()[1]
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def suspend(processes: Sequence[psutil.Process], seconds: float, meanwhile: Callable[[], object] = int) -> None:
    try:
        for process in processes:
            process.suspend()
        for process in processes:
            while process.status() != psutil.STATUS_STOPPED:
                assert process.status() != psutil.STATUS_ZOMBIE, "it ended before it could be stopped"
                time.sleep(0.01)
        meanwhile()
        time.sleep(seconds)
    finally:
        for process in processes:
            process.resume()


def told(process: subprocess.Popen[str]) -> str:
    said, faults = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, faults
    return said


def test_whoever_has_patience_sees_a_stop_and_does_not_count_it(start: Start) -> None:
    began = time.monotonic()
    process = start(PATIENT)
    suspend([psutil.Process(process.pid)], STOPPED)
    stopped, left, still = (float(word) for word in told(process).split())
    lasted = time.monotonic() - began
    assert STOPPED - 0.5 < stopped < lasted
    assert still == pytest.approx(stopped)
    assert left > 3600 - lasted + stopped


def test_a_host_that_was_stopped_alone_has_timed_nothing(tmp_path: Path) -> None:
    before = stood_still()
    with Hosts(stack=None) as hosts, ThreadPoolExecutor(1) as other:
        host = hosts.start("stopped", tmp_path / "host.log")
        psutil.Process(host.pid).suspend()
        waiting = Call(target="tests.support.host_targets:add", arguments={"x": 1, "y": 1})
        answer = other.submit(host.ask, waiting, TIMEOUT)
        while stood_still() == before and not answer.done():
            time.sleep(0.01)
        psutil.Process(host.pid).resume()
        assert answer.result() == 2
    assert stood_still() > before


@linux_only
def test_a_busy_machine_is_no_stop_however_long_one_stands_in_its_queue(start: Start) -> None:
    """Two processes want one processor for longer than what counts as a stop, and neither looks at the clock."""
    with ThreadPoolExecutor(2) as both:
        processes = both.map(start, [BUSY, BUSY])
    assert [told(process) for process in processes] == ["0.0\n", "0.0\n"]


def test_a_host_is_given_its_time_whoever_else_was_stopped_meanwhile(start: Start, tmp_path: Path) -> None:
    """The whole run; or the controller alone, whose host has answered then, and the answer counts. Ranks too."""
    runs = {"all": CONTROLLER, "controller": CONTROLLER, "ranks": RANKS}
    files = {name: tmp_path / f"{name}.file" for name in runs}
    running = {name: start(code, str(tmp_path / f"{name}.log"), str(files[name])) for name, code in runs.items()}
    # Only when all are there: else one has used up its time while the others start on a slow machine.
    try:
        for process in running.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in running.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "asks\n"
        stopped = {name: [psutil.Process(process.pid)] for name, process in running.items()}
        for name in ("all", "ranks"):
            stopped[name] += stopped[name][0].children(recursive=True)
        # The controller, its fork server, a supervisor and the host; who waits for ranks, and what it waits for.
        assert {name: len(found) for name, found in stopped.items()} == {"all": 4, "controller": 1, "ranks": 2}
        # Not before: a controller that still runs reads the answer, and its wait is over before it stops.
        suspend(list(chain(*stopped.values())), DEADLINE + 1, files["controller"].touch)
    finally:
        for file in files.values():
            file.touch()  # whatever fails: nothing is to wait for it any more, nor this test for what waits
    for name, process in running.items():
        answer, suspended = json.loads(told(process))
        assert (name, answer) == (name, "it is there")
        assert suspended > DEADLINE
