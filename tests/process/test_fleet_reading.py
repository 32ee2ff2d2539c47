"""Evidence of many nodes read by several processes: in their order, also when one fails or is killed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.fleet import reading
from plimsoll.fleet.discovery import Lineage
from plimsoll.fleet.reading import Unreadable, read_nodes
from tests.support.fleet_runs import MadeNode, write_node
from tests.support.running import still_running
from tests.support.subsession import ROOT

KILLED = "a process that read evidence was killed, likely for memory; --jobs 1"
DEADLINE = 60.0


def own_children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def lineage_of(name: str) -> Lineage:
    return Lineage(paths=(Path(name),))


def test_a_reading_process_that_is_killed_is_one_message(tmp_path: Path) -> None:
    run = write_node(tmp_path, MadeNode(name="node01"))
    before = own_children()
    found = read_nodes([Lineage(paths=(run / "evidence.jsonl",))] * 1000, 2)
    next(found)
    for child in own_children() - before:
        child.kill()
    with pytest.raises(PlimsollError, match=KILLED):
        list(found)
    assert own_children() == before


def test_one_that_is_killed_in_the_middle_of_an_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that are too long to be written while nobody reads: what is there of them is a beginning."""
    monkeypatch.setattr(reading, "read_node", lambda lineage: Unreadable(path=str(lineage), why="x" * 10**7))
    before = own_children()
    found = read_nodes([lineage_of(str(number)) for number in range(100)], 2)
    next(found)
    end = time.monotonic() + DEADLINE
    for child in own_children() - before:
        while child.status() != psutil.STATUS_SLEEPING and time.monotonic() < end:
            time.sleep(0.05)
        child.kill()
    with pytest.raises(PlimsollError, match=KILLED):
        list(found)


def test_nodes_keep_their_order_and_no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(lineage: Lineage) -> Unreadable:
        number = int(lineage.paths[0].name)
        time.sleep(0.05 if number % 8 == 0 else 0.0)  # so that later portions are there first
        return Unreadable(path=str(number), why="")

    monkeypatch.setattr(reading, "read_node", read)
    before = own_children()
    found = list(read_nodes([lineage_of(str(number)) for number in range(99)], 3))
    assert [one.path for one in found if isinstance(one, Unreadable)] == [str(number) for number in range(99)]
    assert own_children() == before


def test_what_reading_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(lineage: Lineage) -> Unreadable:
        raise ValueError(f"no summary of {lineage.paths[0]}")

    monkeypatch.setattr(reading, "read_node", read)
    before = own_children()
    with pytest.raises(ValueError, match="no summary of 0"):
        list(read_nodes([lineage_of("0")] * 50, 2))
    assert own_children() == before


def test_no_process_outlives_the_one_that_asked() -> None:
    code = """
        import psutil, signal
        from pathlib import Path
        from plimsoll.fleet.discovery import Lineage
        from plimsoll.fleet.reading import read_nodes
        found = read_nodes([Lineage(paths=(Path("none"),))] * 100, 2)
        next(found)
        print(*(child.pid for child in psutil.Process().children()), flush=True)
        signal.pause()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as asking:
        assert asking.stdout is not None
        readers = [psutil.Process(int(pid)) for pid in asking.stdout.readline().split()]
        asking.kill()
    assert len(readers) == 2
    assert still_running(readers, DEADLINE) == []
