"""Who missed a deadline for want of processor time, and who did not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from plimsoll.host.client import process
from plimsoll.host.client.process import Hosts
from plimsoll.host.client.processor_time import ProcessorTime, starved
from plimsoll.host.failures import HostTimeout
from plimsoll.host.protocol import Call

START = ProcessorTime(at=100.0, ran=5.0, waited=1.0, all_ran=1000.0, processors=2)
DEADLINE = 1.5
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")


def after(*, ran: float, waited: float, others: float) -> ProcessorTime:
    """60 seconds later on two processors, of whose time others used that fraction."""
    return replace(START, at=160.0, ran=5.0 + ran, waited=1.0 + waited, all_ran=1000.0 + ran + others * 120)


def test_who_waits_for_others_is_short_of_time() -> None:
    told = starved(START, after(ran=15, waited=45, others=0.8))
    assert told is not None
    assert told.startswith(
        "it got 25% of the processor time that it wanted in 60 s, while others used 80% of 2 processors"
    )


@pytest.mark.parametrize(
    ("ran", "waited", "others"),
    [
        pytest.param(0.0, 0.1, 0.9, id="sleeps while others are busy"),
        pytest.param(60.0, 2.0, 0.1, id="runs without end on an idle machine"),
        pytest.param(30.0, 90.0, 0.05, id="waits for its own threads"),
    ],
)
def test_who_hangs_is_not(ran: float, waited: float, others: float) -> None:
    assert starved(START, after(ran=ran, waited=waited, others=others)) is None


def test_nobody_is_excused_where_nothing_is_known() -> None:
    assert starved(None, START) is None
    assert starved(START, None) is None
    assert ProcessorTime.of(2**22 + 1) is None


@linux_only
def test_only_processors_that_it_may_use_count(tmp_path: Path) -> None:
    """A container may have few of many, which others on them keep from it while all the rest is idle. Threads that end
    while they are listed are no more, and the others are."""
    usable = sorted(os.sched_getaffinity(0))
    busy = "".join(f"cpu{number} 100 0 0 7 7 0 0 0 0 0\n" for number in usable)
    idle = "".join(f"cpu{number} 0 0 0 900 0 0 0 0 0 0\n" for number in range(1000, 1064))
    (tmp_path / "stat").write_text(f"cpu  999999 0 0 900 0 0 0 0 0 0\n{busy}{idle}intr 1 2 3\n")
    for thread, told in (("7", "2000000000 500000000 9"), ("8", "")):
        folder = tmp_path / str(os.getpid()) / "task" / thread
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(told)
    found = ProcessorTime.of(os.getpid(), tmp_path)
    assert found is not None
    assert found.processors == len(usable)
    assert found.all_ran == pytest.approx(len(usable))
    assert (found.ran, found.waited) == (2.0, 0.5)


@linux_only
def test_a_container_with_numbers_of_its_own_for_its_processors_is_believed(tmp_path: Path) -> None:
    """As lxcfs tells: what the kernel calls 4 and 5 are 0 and 1 there, or here 1000 and 1001."""
    task = tmp_path / str(os.getpid()) / "task" / "7"
    task.mkdir(parents=True)
    (task / "schedstat").write_text("2000000000 500000000 9")
    told = "cpu1000 100 0 0 7 7 0 0 0 0 0\ncpu1001 300 0 0 7 7 0 0 0 0 0\n"
    (tmp_path / "stat").write_text(f"cpu  400 0 0 14 14 0 0 0 0 0\n{told}")
    found = ProcessorTime.of(os.getpid(), tmp_path)
    assert found is not None
    assert (found.processors, round(found.all_ran, 6)) == (2, 4.0)
    (tmp_path / "stat").write_text("cpu0 1 2\n")
    assert ProcessorTime.of(os.getpid(), tmp_path) is None, "a kernel that tells less is no fault of the host"


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """What the hosts here are asked needs no stack."""
    with Hosts(stack=None) as found:
        yield found


ASKED = {"spin_politely": True, "sleep_politely": False}
"""What hosts are asked -> whether they are excused."""


@pytest.fixture
def make_busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Give every processor three others to run, until it is told of each host that is asked whether it was short of
    time: how hosts are ended afterwards takes no load."""
    others: list[subprocess.Popen[bytes]] = []

    def end() -> None:
        for other in others:
            other.kill()
        while others:
            others.pop().wait()

    all_told = Barrier(len(ASKED), end, timeout=60.0)

    def begin() -> None:
        spin = [sys.executable, "-S", "-c", "while True: pass"]
        # A session each: Linux may share time out among sessions first, and a host has one of its own.
        others.extend(subprocess.Popen(spin, start_new_session=True) for _ in range(3 * len(os.sched_getaffinity(0))))

    def told(before: ProcessorTime | None, after: ProcessorTime | None) -> str | None:
        found = starved(before, after)
        all_told.wait()
        return found

    monkeypatch.setattr(process, "starved", told)
    yield begin
    end()


@linux_only
def test_a_deadline_missed_on_a_busy_machine(hosts: Hosts, make_busy: Callable[[], None], tmp_path: Path) -> None:
    """Whoever sleeps has begun to, on a machine as busy as that, long before half of its time is over."""
    asked = {function: hosts.start(function, tmp_path / f"{function}.log") for function in ASKED}
    for host in asked.values():
        # What it is asked next is imported, which would be slow with all the others.
        assert host.ask(Call(target="tests.support.host_targets:add", arguments={"x": 1, "y": 1}), 60.0) == 2

    def ask(function: str) -> HostTimeout:
        with pytest.raises(HostTimeout) as caught:
            asked[function].ask(Call(target=f"tests.support.host_targets:{function}"), DEADLINE)
        return caught.value

    make_busy()
    with ThreadPoolExecutor(len(ASKED)) as both:
        missed = dict(zip(ASKED, both.map(ask, ASKED), strict=True))
    for function, excused in ASKED.items():
        assert (missed[function].starved is not None) is excused
        assert ("processor time that it wanted" in str(missed[function])) is excused
