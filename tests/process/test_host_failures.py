"""Hosts that die, hang or talk nonsense: what is told of them, and that the next one works."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plimsoll.host.client.log import HostLog
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.failures import HostDied, HostTimeout
from plimsoll.host.protocol import Call

DEADLINE = 60.0
HANGS = 2.0
"""Seconds that a host is given which is to hang: far more than it needs to come to that."""


def call(function: str, **arguments: object) -> Call:
    return Call(target=f"tests.support.host_targets:{function}", arguments=arguments)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(stack=None) as hosts:
        yield hosts


def death(host: Host, request: Call) -> HostDied:
    with pytest.raises(HostDied) as caught:
        host.ask(request, DEADLINE)
    assert not psutil.pid_exists(host.pid)
    return caught.value


def timeout(host: Host, request: Call, deadline: float) -> HostTimeout:
    host.ask(call("add", x=1, y=1), DEADLINE)  # or the deadline may come while it still imports what it is asked for
    return missed_deadline(host, request, deadline)


def missed_deadline(host: Host, request: Call, deadline: float) -> HostTimeout:
    with pytest.raises(HostTimeout) as caught:
        host.ask(request, deadline)
    assert not psutil.pid_exists(host.pid)
    assert caught.value.deadline == deadline
    return caught.value


def supervisor(host: Host) -> psutil.Process:
    return psutil.Process(psutil.Process(host.pid).ppid())


def test_killed_while_busy(host: Host, hosts: Hosts, tmp_path: Path) -> None:
    died = death(host, call("die_by", number=signal.SIGKILL, text="the last words"))
    assert (died.exitcode, died.signal, died.request) == (None, "SIGKILL", "Call")
    assert died.last_lines == ("the last words",)
    assert "into Call: killed by SIGKILL (the suite did not send it; the kernel's out-of-memory killer" in str(died)
    assert str(died).endswith(f"last lines of {host.log}:\n  the last words")
    assert hosts.start("next", tmp_path / "next.log").ask(call("add", x=1, y=1), DEADLINE) == 2


def test_killed_while_idle(host: Host) -> None:
    psutil.Process(host.pid).kill()
    while host.is_alive:
        time.sleep(0.01)
    died = death(host, call("add", x=1, y=1))
    assert (died.request, died.signal) == ("idle", "SIGKILL")
    assert str(died).startswith(
        "the host of tiny-llama/nf4 died between requests: killed by SIGKILL (the suite did not"
    )


def test_a_segfault_leaves_its_stack(host: Host) -> None:
    died = death(host, call("segfault"))
    assert died.signal == "SIGSEGV"
    assert died.stack is not None
    assert died.stack.startswith("Fatal Python error: Segmentation fault")
    assert "host_targets.py" in died.stack
    assert "in segfault" in died.stack
    assert "in segfault" in str(died)
    assert died.fields()["stack"] == died.stack


def test_an_exit_of_its_own(host: Host) -> None:
    died = death(host, call("exit_with", code=3))
    assert (died.exitcode, died.signal) == (3, None)
    assert str(died).endswith("into Call: exit code 3")


def test_the_last_word_counts(host: Host) -> None:
    assert host.ask(call("answer_and_die"), DEADLINE) == "the last word"
    died = death(host, call("sleep", seconds=DEADLINE))
    assert died.exitcode == 5


def test_a_dead_host_says_the_same_again(host: Host) -> None:
    first = death(host, call("exit_with", code=3))
    again = death(host, call("add", x=1, y=1))
    assert (first.exitcode, again.exitcode) == (3, 3)
    assert "it had died before; exit code 3" in str(again)


def test_garbage_is_a_death_and_not_a_hang(host: Host) -> None:
    died = death(host, call("reply_garbage"))
    assert "it sent bytes that are no reply, beginning with b'no reply at all'; ended by SIGKILL" in str(died)


def test_half_a_reply_is_a_death(host: Host) -> None:
    assert death(host, call("reply_half_and_exit")).exitcode == 3


def test_a_closed_channel_is_a_death(host: Host) -> None:
    died = death(host, call("close_the_channel"))
    assert died.reason == "it closed its connection without ending, and was killed"


def test_a_killed_supervisor_takes_its_host_along(host: Host) -> None:
    in_group, _ = (psutil.Process(pid) for pid in host.ask(call("start_children"), DEADLINE))
    process = psutil.Process(host.pid)
    supervisor(host).kill()
    process.wait(DEADLINE)  # by the kernel: nobody has asked it anything yet
    died = death(host, call("hang_in_python"))
    assert "its supervisor process was killed; exit status unknown" in str(died)
    assert psutil.wait_procs([in_group], timeout=DEADLINE)[1] == []


def test_a_terminated_supervisor_ends_everything(host: Host) -> None:
    children = host.ask(call("start_children"), DEADLINE)
    supervisor(host).terminate()
    assert death(host, call("hang_in_python")).signal == "SIGKILL"
    assert not any(psutil.pid_exists(pid) for pid in children)


def test_a_hang_in_python_shows_where(host: Host) -> None:
    missed = timeout(host, call("hang_in_python"), HANGS)
    assert missed.stack is not None
    assert "in hang_in_python" in missed.stack
    assert (missed.ending, missed.signal) == ("ended by SIGTERM", "SIGTERM")
    assert str(missed).startswith(
        "the host of tiny-llama/nf4 did not answer Call within 2.000 s: ended by SIGTERM\nits stacks at the deadline:\n"
    )
    assert missed.fields()["stack"] == missed.stack


def test_a_hang_with_the_interpreter_lock_held_shows_where(host: Host) -> None:
    missed = timeout(host, call("hang_with_the_lock"), HANGS)
    assert missed.stack is not None
    assert "in hang_with_the_lock" in missed.stack


def test_a_stopped_host_is_found_out(host: Host) -> None:
    missed = timeout(host, call("stop_itself"), HANGS)
    assert missed.ending == "it was stopped (SIGSTOP); ended by SIGTERM"
    assert missed.stack is not None
    assert "in stop_itself" in missed.stack


def test_a_stopped_host_does_not_block_a_long_request(host: Host) -> None:
    os.kill(host.pid, signal.SIGSTOP)
    missed = missed_deadline(host, call("length", data=bytes(20_000_000)), 0.5)
    assert missed.ending.startswith("it was stopped")


def test_a_host_deaf_to_sigterm_is_killed_with_its_children(host: Host) -> None:
    children = host.ask(call("start_children"), DEADLINE)
    missed = timeout(host, call("hang_deaf_to_sigterm"), HANGS)
    assert missed.ending == "SIGTERM did not end it within 2 s, killed by SIGKILL"
    assert missed.signal == "SIGKILL"
    assert not any(psutil.pid_exists(pid) for pid in children)


def test_only_this_hosts_lines_are_told(hosts: Hosts, tmp_path: Path) -> None:
    log = tmp_path / "shared.log"
    first = hosts.start("first", log)
    first.ask(call("say", text="of the first"), DEADLINE)
    first.close()
    died = death(hosts.start("second", log), call("die_by", number=signal.SIGKILL, text="of the second"))
    assert died.last_lines == ("of the second",)


def test_long_output_is_cut(host: Host) -> None:
    host.ask(call("say", text="\n".join(f"{n} " + "x" * 1000 for n in range(100))), DEADLINE)
    last_lines = death(host, call("exit_with", code=1)).last_lines
    assert len(last_lines) == 20
    assert last_lines[-1] == "99 " + "X" * 397 + " ..."


def test_no_stack_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.host.client.log._STACK_LIMIT", 0.1)
    log = tmp_path / "host.log"
    log.write_text("Thread 0x1 (most recent call first):\n")
    assert HostLog(log).await_stack(log.stat().st_size) is None
