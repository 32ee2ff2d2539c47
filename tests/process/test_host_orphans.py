"""No process outlives its run, whoever is killed: the controller, the fork server, a supervisor, or several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plimsoll.host.client.forkserver import ForkServer
from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Call
from tests.support.running import runs, still_running

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0
"""Seconds after which a process that should be gone is called an orphan; far more than it ever needs."""


class Controller:
    """A controller in a process of its own, with all its descendants."""

    def __init__(self, folder: Path, function: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.host_controller", str(folder), function],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.descendants = psutil.Process(self.process.pid).children(recursive=True)
        (self.server,) = psutil.Process(self.process.pid).children()
        self.supervisors = self.server.children()
        self.hosts = [host for supervisor in self.supervisors for host in supervisor.children()]
        # The server; two supervisors, two hosts; two children each.
        assert (len(self.supervisors), len(self.hosts), len(self.descendants)) == (2, 2, 9)

    def orphans(self) -> list[psutil.Process]:
        """What still runs of it a while later."""
        return still_running(self.descendants, TIMEOUT)


@pytest.fixture
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(tmp_path, getattr(request, "param", "hang_in_python"))
    yield controller
    for process in (psutil.Process(), *controller.descendants):
        if process.pid != os.getpid() and runs(process):
            process.kill()
    controller.process.kill()
    controller.process.communicate()


@pytest.mark.parametrize(
    "controller", ["hang_in_python", "hang_with_the_lock", "hang_deaf_to_sigterm", "stop_itself"], indirect=True
)
def test_controller_killed(controller: Controller) -> None:
    controller.process.kill()
    assert controller.orphans() == []


def test_controller_terminated(controller: Controller) -> None:
    controller.process.terminate()
    assert controller.orphans() == []


@pytest.mark.parametrize("controller", ["hang_in_python", "hang_with_the_lock"], indirect=True)
def test_ctrl_c(controller: Controller) -> None:
    os.killpg(controller.process.pid, signal.SIGINT)
    _, errors = controller.process.communicate()
    assert "KeyboardInterrupt" in errors
    assert not any(runs(process) for process in controller.descendants), "all were gone before the controller was"


def test_controller_and_server_killed_at_once(controller: Controller) -> None:
    controller.server.suspend()
    controller.process.kill()
    controller.server.kill()
    assert controller.orphans() == []


def test_controller_killed_while_its_hosts_are_stopped(controller: Controller) -> None:
    for host in controller.hosts:
        os.killpg(host.pid, signal.SIGSTOP)
    controller.process.kill()
    assert controller.orphans() == []


def test_supervisors_killed(controller: Controller) -> None:
    """The kernel ends the hosts; the controller notices and ends; the fork server finds what the hosts had started."""
    for supervisor in controller.supervisors:
        supervisor.kill()
    assert controller.orphans() == []


_SWEEPER = """
import subprocess, sys
import psutil
from plimsoll.host.server import linux
from plimsoll.host.server.supervisor import sweep

linux.adopt_orphans()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
whole = psutil.Process.children
listings = iter([[], []])
psutil.Process.children = lambda self, recursive=False: next(listings, whole(self, recursive))
sweep()
print(psutil.pid_exists(child.pid), next(listings, "all were used"))
child.kill()
"""


def test_a_process_that_a_listing_leaves_out_is_swept_away_all_the_same() -> None:
    """A listing is made while processes end: who has just lost its parent may stand in none of its lines."""
    done = subprocess.run([sys.executable, "-c", _SWEEPER], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.stdout == "False all were used\n", done.stderr


def test_a_killed_server_costs_nothing(tmp_path: Path) -> None:
    with Hosts(stack=None) as hosts:
        first = hosts.start("first", tmp_path / "host.log")
        server = hosts._server
        assert isinstance(server, ForkServer)
        psutil.Process(server.pid).kill()
        assert first.ask(Call(target="os:getpid"), TIMEOUT) == first.pid
        second = hosts.start("second", tmp_path / "host.log")
        assert second.ask(Call(target="os:getpid"), TIMEOUT) == second.pid
        pids = [first.pid, second.pid]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_server_that_is_killed_while_it_is_asked_is_replaced(tmp_path: Path) -> None:
    with Hosts(stack=None) as hosts:
        hosts.start("first", tmp_path / "host.log")
        server = hosts._server
        assert isinstance(server, ForkServer)
        process = psutil.Process(server.pid)
        process.suspend()
        threading.Timer(0.3, process.kill).start()
        second = hosts.start("second", tmp_path / "host.log")
        assert second.ask(Call(target="os:getpid"), TIMEOUT) == second.pid
        assert hosts._server is not server


def test_two_controllers_do_not_meet(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (Controller(folder, "hang_in_python") for folder in folders)
    one.process.kill()
    assert one.orphans() == []
    one.process.communicate()
    assert all(runs(process) for process in two.descendants)
    two.process.kill()
    assert two.orphans() == []
    two.process.communicate()
