"""Hosts of a fork server that another process of ours started: what they share with it, and what they do not."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from plimsoll.host.client.forkserver import ForkServer, JoinedServer, ServerGoneError
from plimsoll.host.client.process import Hosts
from plimsoll.host.failures import StackImportError
from plimsoll.host.protocol import Call
from plimsoll.host.server.forkserver import _listening
from tests.support.forked_stacks import STACKS
from tests.support.subsession import ROOT, Session, run_until

DEADLINE = 60.0
PID = Call(target="os:getpid")


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: one to a socket may have a hundred bytes."""
    path = tmp_path_factory.mktemp("fork") / "s"
    assert len(os.fsencode(path)) < 100
    return path


def server_of(pid: int) -> psutil.Process:
    """The fork server above a host and its supervisor."""
    return psutil.Process(pid).parents()[1]


@contextmanager
def listening(address: Path, modules: Sequence[str] = ()) -> Iterator[psutil.Process]:
    """A server that others join; it is there once its socket is, before it has imported anything."""
    server = ForkServer(modules, DEADLINE, address)
    try:
        end = time.monotonic() + DEADLINE
        while not address.exists() and time.monotonic() < end:
            time.sleep(0.01)
        yield psutil.Process(server.pid)
    finally:
        server.stop()


def test_all_who_join_have_hosts_of_the_same_server(tmp_path: Path, address: Path) -> None:
    with (
        listening(address) as server,
        Hosts(stack=None, join=address) as first,
        Hosts(stack=None, join=address) as second,
    ):
        one, other = first.start("one", tmp_path / "one.log"), second.start("other", tmp_path / "other.log")
        assert server_of(one.pid) == server_of(other.pid) == server
        assert other.ask(PID, DEADLINE) == other.pid != one.pid
        second.close()
        assert not psutil.pid_exists(other.pid)
        assert one.ask(PID, DEADLINE) == one.pid
        again = second.start("again", tmp_path / "again.log")
        assert server_of(again.pid) != server, "it is joined once, and another server is the guest's own"


def test_a_joined_host_has_the_surroundings_of_who_asked(
    tmp_path: Path, address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {name: Call(target="os:getenv", arguments={"key": name}) for name in ("MINE", "THEIRS", "GIVEN")}
    monkeypatch.setenv("THEIRS", "of the server")
    with listening(address), Hosts(stack=None, join=address) as first, Hosts(stack=None, join=address) as guest:
        own = first.start("own", tmp_path / "own.log")
        monkeypatch.delenv("THEIRS")
        monkeypatch.setenv("MINE", "x" * 100_000)
        monkeypatch.chdir(tmp_path)
        joined = guest.start("joined", tmp_path / "joined.log", environment={"GIVEN": "GPU-7"})
        told = {name: joined.ask(call, DEADLINE) for name, call in asked.items()}
        assert told == {"MINE": "x" * 100_000, "THEIRS": None, "GIVEN": "GPU-7"}
        assert joined.ask(Call(target="os:getcwd"), DEADLINE) == str(tmp_path)
        assert own.ask(asked["THEIRS"], DEADLINE) == "of the server"
        assert own.ask(Call(target="os:getcwd"), DEADLINE) == str(ROOT)


def test_where_nobody_listens_a_server_of_its_own_is_started(tmp_path: Path, address: Path) -> None:
    with Hosts(stack=None, join=address) as guest:
        host = guest.start("one", tmp_path / "one.log")
        assert host.ask(PID, DEADLINE) == host.pid


def test_who_joined_a_server_that_is_killed_goes_on_with_its_own(tmp_path: Path, address: Path) -> None:
    with listening(address) as server, Hosts(stack=None, join=address) as guest:
        first = guest.start("first", tmp_path / "first.log")
        assert server_of(first.pid) == server
        server.kill()
        assert first.ask(PID, DEADLINE) == first.pid
        second = guest.start("second", tmp_path / "second.log")
        assert second.ask(PID, DEADLINE) == second.pid
        assert server_of(second.pid) != server


def test_who_is_gone_in_the_middle_of_an_order_costs_others_nothing(tmp_path: Path, address: Path) -> None:
    with listening(address) as server, Hosts(stack=None, join=address) as guest:
        guest.start("first", tmp_path / "first.log")
        with socket.socket(socket.AF_UNIX) as line, (tmp_path / "file").open("w") as file:
            line.connect(str(address))
            assert line.recv(100), "it has nothing else to do, and has closed what came with the first order"
            before = server.num_fds() - 1  # this line's
            socket.send_fds(line, [b'{"name": "half'], [file.fileno()] * 3)
        second = guest.start("second", tmp_path / "second.log")
        assert server_of(second.pid) == server
        # It may be asked by the guest before it sees that the other is gone.
        end = time.monotonic() + DEADLINE
        while server.num_fds() != before and time.monotonic() < end:
            time.sleep(0.05)
        assert server.num_fds() == before


def test_a_broken_stack_is_told_by_who_joined_too(
    tmp_path: Path, address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('numpy ABI')")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        listening(address, ["broken"]),
        Hosts(stack=None, preload=["broken"], join=address) as guest,
        pytest.raises(StackImportError, match="importing broken failed: ValueError: numpy ABI"),
    ):
        guest.start("one", tmp_path / "one.log")


def test_a_server_that_ends_before_it_lets_anyone_join_is_gone(address: Path) -> None:
    """Who waits in its queue is told by a reset, as where its imports fail within a moment."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        line = JoinedServer(address, DEADLINE)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ServerGoneError):
        line.fork("one", None, theirs, ours.fileno(), {})
    line.stop()


def test_a_server_has_its_address_only_once_it_listens(tmp_path: Path) -> None:
    """Who knocks all the time is let in or finds no address, and is never refused."""

    def serve(turn: int, is_over: threading.Event) -> None:
        with _listening(str(tmp_path / str(turn))):
            is_over.wait(DEADLINE)

    refused = 0
    for turn in range(200):
        is_over = threading.Event()
        server = threading.Thread(target=serve, args=(turn, is_over))
        server.start()
        joined = False
        while not joined:
            try:
                JoinedServer(tmp_path / str(turn), DEADLINE).stop()
                joined = True
            except ServerGoneError as gone:
                refused += isinstance(gone.__cause__, ConnectionRefusedError)
        is_over.set()
        server.join()
    assert refused == 0


def test_workers_of_a_run_share_one_server_which_ends_with_them(tmp_path: Path) -> None:
    """The stack is imported once, however many workers there are."""
    servers: list[psutil.Process] = []
    STACKS.run(["-c", ""], os.environ)  # fork servers are forked there, where other tests had some before
    assert STACKS._process is not None
    stacks = psutil.Process(STACKS._process.pid)
    before = stacks.children(recursive=True)

    def both_have_hosts(events: list[dict[str, Any]]) -> bool:
        started = (event for event in events if event["event"] == "host" and event["state"] == "started")
        return {event["worker"] for event in started} == {"gw0", "gw1"}

    def look(process: Session, _events: list[dict[str, Any]]) -> None:
        # A fork has its server's name for a moment, until it is a supervisor.
        new = [one for one in stacks.children(recursive=True) if one not in before]
        started = [*new, *psutil.Process(process.pid).children(recursive=True)]
        found = []
        for one in started:
            with suppress(psutil.NoSuchProcess):  # it has ended since
                found += [one] if one.name() == "plimsoll-fork" else []
        servers.extend(one for one in found if one.is_running() and one.parent() not in found)

    asked = ("-m", "tiny and bf16", "-k", "stored_bytes", "-n", "2")
    outcome = run_until(tmp_path, both_have_hosts, look, *asked)
    assert outcome.verdict == "ACCEPTED", outcome.output
    assert len(servers) == 1
    assert not servers[0].is_running()
