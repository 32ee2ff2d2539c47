"""Hosts that do as they are asked: replies, errors, events, what they find themselves in, how they end."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from plimsoll.host.client.forkserver import ForkServer
from plimsoll.host.client.log import FILE_LIMIT, TAIL_LIMIT
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.failures import HostDied, HostError, HostStartError
from plimsoll.host.protocol import Call, Generate, Unload
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.redaction import REDACTED
from plimsoll.symptoms.recognise import recognise
from tests.support import host_targets

DEADLINE = 60.0


def call(function: str, **arguments: object) -> Call:
    return Call(target=f"tests.support.host_targets:{function}", arguments=arguments)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with pytest.MonkeyPatch.context() as patch, Hosts(stack=None) as hosts:
        patch.delenv("PYTHONUNBUFFERED", raising=False)  # which would hide that a host flushes its output itself
        yield hosts


def test_answers(host: Host) -> None:
    assert host.ask(call("add", x=2, y=3), DEADLINE) == 5
    assert host.ask(call("point", x=2, y=3), DEADLINE) == host_targets.Point(2, 3)
    assert host.ask(Call(target="os:getpid"), DEADLINE) == host.pid != os.getpid()


def test_a_host_has_an_environment_of_its_own(hosts: Hosts, tmp_path: Path) -> None:
    """Which is how it is told its GPU: the fork server and every other host keep theirs."""
    asked = Call(target="os:getenv", arguments={"key": "CUDA_VISIBLE_DEVICES"})
    given = [{"CUDA_VISIBLE_DEVICES": "GPU-7"}, {"CUDA_VISIBLE_DEVICES": "MIG-1,GPU-3"}, None]
    started = [hosts.start(f"on-{n}", tmp_path / f"{n}.log", environment=one) for n, one in enumerate(given)]
    try:
        answers = [one.ask(asked, DEADLINE) for one in started]
    finally:
        for one in started:
            one.close()
    assert answers == ["GPU-7", "MIG-1,GPU-3", os.environ.get("CUDA_VISIBLE_DEVICES")]


def test_instances_of_a_split_gpu_are_named_to_hosts_and_kept_from_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch would ask the CUDA runtime how many they are, in the process from which all hosts are forked."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1,MIG-2")
    asked = Call(target="os:getenv", arguments={"key": "CUDA_VISIBLE_DEVICES"})
    with Hosts(stack=None) as hosts:
        plain = hosts.start("plain", tmp_path / "plain.log")
        given = hosts.start("given", tmp_path / "given.log", environment={"CUDA_VISIBLE_DEVICES": "MIG-2"})
        assert plain.ask(asked, DEADLINE) == "MIG-1,MIG-2"
        assert given.ask(asked, DEADLINE) == "MIG-2"
        servers = [one for one in psutil.Process().children() if one.name() == "plimsoll-fork"]
        server = max(servers, key=lambda one: one.create_time())
        assert "CUDA_VISIBLE_DEVICES" not in server.environ()


def test_reaches_into_classes(host: Host) -> None:
    assert host.ask(Call(target="pathlib:Path.cwd"), DEADLINE) == Path.cwd()


def test_long_messages_both_ways(host: Host) -> None:
    assert host.ask(call("length", data=bytes(20_000_000)), DEADLINE) == 20_000_000
    assert host.ask(call("zeros", size=20_000_000), DEADLINE) == bytes(20_000_000)


def test_what_a_request_raises_is_told_and_the_host_stays_usable(host: Host) -> None:
    with pytest.raises(HostError) as caught:
        host.ask(call("fail", message="no such luck"), DEADLINE)
    raised = caught.value.raised
    assert (raised.kind, raised.message, raised.mistake) == ("ValueError", "no such luck", None)
    assert "in fail\n    raise ValueError(message)" in raised.traceback
    assert str(caught.value).startswith("Call raised ValueError in the host of tiny-llama/nf4: no such luck\nTraceback")
    assert caught.value.fields()["error"] == "ValueError: no such luck"
    assert host.ask(call("add", x=1, y=1), DEADLINE) == 2


def test_a_users_mistake_is_told_without_a_traceback(host: Host) -> None:
    with pytest.raises(HostError) as caught:
        host.ask(Call(target="tests.support.host_targets:raise_users_mistake"), DEADLINE)
    assert str(caught.value) == "the checkpoint is a pickle; save it as safetensors"
    assert isinstance(caught.value.__cause__, LoadFailed)
    assert caught.value.__cause__.kind is LoadFailure.PICKLE


def test_a_users_mistake_that_cannot_be_pickled_keeps_its_text(host: Host) -> None:
    with pytest.raises(HostError) as caught:
        host.ask(call("raise_mistake_that_cannot_be_pickled"), DEADLINE)
    assert str(caught.value) == "model.bin: is a pickle; save it as safetensors"
    assert host.ask(call("add", x=1, y=1), DEADLINE) == 2


def test_a_module_that_does_not_exist_is_an_error(host: Host) -> None:
    with pytest.raises(HostError, match="No module named 'nowhere'"):
        host.ask(Call(target="nowhere:nothing"), DEADLINE)


def test_sys_exit_is_an_error_and_not_the_end(host: Host) -> None:
    with pytest.raises(HostError) as caught:
        host.ask(call("leave"), DEADLINE)
    assert caught.value.raised.kind == "SystemExit"
    assert host.is_alive


def test_a_reply_that_cannot_be_pickled_is_an_error(host: Host) -> None:
    with pytest.raises(HostError, match="lambda"):
        host.ask(call("unpicklable"), DEADLINE)
    assert host.ask(call("add", x=1, y=1), DEADLINE) == 2


def test_a_request_that_cannot_be_pickled_leaves_the_host_usable(host: Host) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        host.ask(call("add", x=lambda: None, y=1), DEADLINE)
    assert host.ask(call("add", x=1, y=1), DEADLINE) == 2


@pytest.mark.parametrize("request_", [Unload(), Generate(questions=("why?",), max_new_tokens=1)])
def test_nothing_is_asked_of_a_model_before_it_is_loaded(host: Host, request_: Any) -> None:
    with pytest.raises(HostError, match="no model is loaded: ask Load first"):
        host.ask(request_, DEADLINE)


def test_output_goes_to_the_log_line_by_line(host: Host) -> None:
    host.ask(call("say", text="line ünd \ud800"), DEADLINE)
    await_text(host.log, "line ünd \\ud800\nLINE ÜND \\ud800\n")


def test_what_a_library_logs_again_and_again_stands_once_in_the_log(host: Host) -> None:
    host.ask(call("warn", texts=["cast", "cast", *["cast"] * 1000, "cast to float16", "cast"]), DEADLINE)
    host.ask(call("warn", texts=["cast", "another"]), DEADLINE)
    host.ask(call("say", text="end"), DEADLINE)
    # Of each logger, for two libraries may say the same of two things.
    await_text(host.log, "cast\ncast\ncast to float16\nanother\nend\nEND\n")


def test_a_library_that_logs_wrongly_goes_on(host: Host) -> None:
    """As it does without us: logging tells of it on standard error."""
    assert host.ask(call("warn_wrongly"), DEADLINE) == "went on"
    assert "--- Logging error ---" in await_some(host.log, "careless")


def await_some(path: Path, text: str) -> str:
    end = time.monotonic() + DEADLINE
    while text not in path.read_text(encoding="utf-8") and time.monotonic() < end:
        time.sleep(0.02)
    return path.read_text(encoding="utf-8")


def await_text(path: Path, text: str) -> None:
    """A thread writes the log, so that what a host has said is there a moment later."""
    end = time.monotonic() + DEADLINE
    while path.read_text(encoding="utf-8") != text and time.monotonic() < end:
        time.sleep(0.02)
    assert path.read_text(encoding="utf-8") == text


SECRET = "swordfish-in-the-harbour-77"


def test_no_secret_that_model_code_prints_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabcdef0123\n-----END RSA PRIVATE KEY-----"
    with Hosts(stack=None) as hosts:
        host = hosts.start("leaky", tmp_path / "leaky.log")
        for text in (
            f"connecting with {SECRET}",
            f"{key}\nbehind the key",
            "ghp_" + "a1" * 18,
            "commit " + "c0ffee" * 6,
        ):
            host.ask(call("say", text=text), DEADLINE)
        host.close()
    log = (tmp_path / "leaky.log").read_text()
    assert not [word for word in (SECRET, "MIIE", "ghp_a1") if word in log]
    assert f"connecting with {REDACTED}" in log
    assert "behind the key" in log
    assert "commit " + "c0ffee" * 6 in log, "a hash is no secret"


def test_a_host_that_prints_without_end_does_not_fill_the_disk(tmp_path: Path) -> None:
    with Hosts(stack=None) as hosts:
        host = hosts.start("chatty", tmp_path / "chatty.log")
        for number in range(3):
            host.ask(call("say", text=f"flood {number} " + "x" * 1000 + "\n" + ("y" * 99 + "\n") * 40_000), DEADLINE)
        host.ask(call("say", text="last words"), DEADLINE)
        host.close()
    log = (tmp_path / "chatty.log").read_text()
    assert FILE_LIMIT < len(log) < FILE_LIMIT + 2 * TAIL_LIMIT
    assert log.startswith("flood 0 ")
    assert log.endswith("last words\nLAST WORDS\n")
    assert re.search(r"\[the log is longer than is kept: 24,[0-9,]+ bytes in all; its end follows\]", log)


def test_the_text_of_an_error_is_bounded_and_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASS", SECRET)
    with Hosts(stack=None) as hosts:
        host = hosts.start("loud", tmp_path / "loud.log")
        with pytest.raises(HostError) as caught:
            host.ask(call("fail", message=f"{SECRET} " + "x" * 1_000_000), DEADLINE)
        host.close()
    assert len(str(caught.value)) < 120_000
    assert len(caught.value.raised.message) < 9_000
    assert SECRET not in str(caught.value)
    assert "characters left out]" in caught.value.raised.message


def test_what_a_host_finds_itself_in(host: Host) -> None:
    state = host.ask(call("state"), DEADLINE)
    assert state["session"] == state["group"] == state["pid"] == host.pid
    assert state["stdin"] == b""
    assert state["sigint"], "Ctrl-C is the controller's business"
    assert state["sigterm"]
    assert state["sigchld"], "or subprocess could not wait"
    assert state["subprocess"] == b"1\n"
    assert state["core"] == (0, 0)
    assert state["name"] == "tiny-llama/nf4"
    assert state["oom_score"] == 500, "when memory runs out, the host goes and not pytest"
    assert not {"pytest", "torch"} & state["modules"], "the main script was not run again"


@pytest.mark.parametrize("inherited", ["ignored", "blocked"])
def test_hosts_start_and_their_ends_are_heard_though_a_launcher_hid_them(inherited: str, tmp_path: Path) -> None:
    """`trap '' CHLD` of a launcher, or a mask of its signals, goes on to all that it starts."""
    log = tmp_path / "host.log"
    handler, mask = signal.getsignal(signal.SIGCHLD), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    hosts = Hosts(stack="tests.support.waiting_stack")
    try:
        if inherited == "ignored":
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
        host = hosts.start("one", log)
    finally:
        signal.signal(signal.SIGCHLD, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with hosts:
        assert host.ask(call("state"), DEADLINE)["subprocess"] == b"1\n"
        with pytest.raises(HostDied) as caught:
            host.ask(call("die_by", number=signal.SIGTERM, text="on its own"), DEADLINE)
    assert caught.value.signal == "SIGTERM"


def test_a_host_holds_its_log_and_its_channel_and_nothing_of_others(hosts: Hosts, tmp_path: Path) -> None:
    others = [hosts.start(f"other-{n}", tmp_path / "other.log") for n in range(3)]
    host = hosts.start("one", tmp_path / "one.log")
    # stdin, stdout, stderr, faulthandler's own descriptor, the channel; nothing that would keep another host's open.
    assert host.ask(call("state"), DEADLINE)["descriptors"] == sorted(["/dev/null", "pipe", "pipe", "pipe", "socket"])
    for other in (*others, host):
        other.close()


def test_progress_tells_seconds_and_memory(host: Host, tmp_path: Path) -> None:
    seen: list[tuple[float, int | None]] = []

    def tick(seconds: float, rss: int | None) -> None:
        seen.append((seconds, rss))
        if len(seen) == 3:
            (tmp_path / "seen").touch()

    host.ask(call("await_file", path=str(tmp_path / "seen")), DEADLINE, tick)
    assert len(seen) >= 3
    assert [seconds for seconds, _ in seen] == sorted(seconds for seconds, _ in seen)
    assert all(rss is not None and rss > 2**20 for _, rss in seen)


def test_an_abandoned_request_ends_the_host(host: Host) -> None:
    def interrupt(seconds: float, rss: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        host.ask(call("hang_in_python"), DEADLINE, interrupt)
    assert not psutil.pid_exists(host.pid)
    with pytest.raises(HostDied, match="its request was abandoned; ended by SIGKILL") as died:
        host.ask(call("add", x=1, y=1), DEADLINE)
    assert recognise(died.value.seen()) == (), "what ended it was the suite, and not the system"


def test_one_request_at_a_time(host: Host) -> None:
    with pytest.raises(RuntimeError, match="the host of tiny-llama/nf4 was asked for Call while it answers another"):
        host.ask(call("hang_in_python"), DEADLINE, lambda _seconds, _rss: host.ask(call("add", x=1, y=1), DEADLINE))


def test_close_from_another_thread_ends_a_request(host: Host) -> None:
    def close(_seconds: float, _rss: int | None) -> None:
        closer = threading.Thread(target=host.close)
        closer.start()
        closer.join()

    with pytest.raises(HostDied) as caught:
        host.ask(call("hang_in_python"), DEADLINE, close)
    assert caught.value.signal == "SIGKILL"


def test_close_waits_until_the_process_is_gone(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start("one", tmp_path / "host.log")
    children = host.ask(call("start_children"), DEADLINE)
    alive = [host.is_alive]
    host.close()
    alive.append(host.is_alive)
    assert alive == [True, False]
    assert not any(psutil.pid_exists(pid) for pid in (host.pid, *children))
    host.close()


def test_hosts_end_with_their_context(tmp_path: Path) -> None:
    with Hosts(stack=None) as hosts:
        pids = [hosts.start(f"host-{n}", tmp_path / "host.log").pid for n in range(3)]
        server = hosts._server
        assert isinstance(server, ForkServer)
        pids.append(server.pid)
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_events_tell_the_life_of_a_host(tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    with Hosts(stack=None, on_event=lambda state, fields: events.append((state, fields))) as hosts:
        host = hosts.start("one", tmp_path / "host.log")
        host.ask(call("add", x=1, y=1), DEADLINE)
        with pytest.raises(HostError):
            host.ask(call("fail", message="no"), DEADLINE)
        second = hosts.start("two", tmp_path / "host.log")
        with pytest.raises(HostDied):
            second.ask(call("exit_with", code=3), DEADLINE)
    assert [(state, fields["variant"]) for state, fields in events] == [
        ("started", "one"),
        ("request", "one"),
        ("request", "one"),
        ("started", "two"),
        ("died", "two"),
        ("closed", "one"),
    ]
    assert all(fields["log"] == str(tmp_path / "host.log") for _, fields in events)
    assert events[0][1]["pid"] == host.pid
    assert events[2][1]["error"] == "ValueError: no"
    assert (events[4][1]["exitcode"], events[4][1]["request"]) == (3, "Call")
    assert events[5][1]["exitcode"] == 0


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    with Hosts(stack=None) as hosts:
        hosts.start("first", tmp_path / "host.log").close()
        server = hosts._server
        assert isinstance(server, ForkServer)
        before = [psutil.Process(pid).num_fds() for pid in (os.getpid(), server.pid)]
        for number in range(50):
            host = hosts.start(f"host-{number}", tmp_path / "host.log")
            host.ask(call("add", x=number, y=1), DEADLINE)
            host.close()
        with pytest.raises(HostDied):
            hosts.start("dies", tmp_path / "host.log").ask(call("exit_with", code=1), DEADLINE)
        assert [psutil.Process(pid).num_fds() for pid in (os.getpid(), server.pid)] == before


def test_a_host_that_died_unasked_gives_its_descriptors_back(hosts: Hosts, tmp_path: Path) -> None:
    hosts.start("first", tmp_path / "host.log").close()  # with it comes the fork server, which stays
    before = psutil.Process().num_fds()
    host = hosts.start("one", tmp_path / "host.log")
    psutil.Process(host.pid).kill()
    host.close()
    assert psutil.Process().num_fds() == before


def test_a_log_that_cannot_be_written_is_one_clear_message(hosts: Hosts, tmp_path: Path) -> None:
    with pytest.raises(HostStartError) as caught:
        hosts.start("one", tmp_path / "missing" / "host.log")
    assert str(caught.value) == f"{tmp_path}/missing/host.log: cannot write the host's log: No such file or directory"


def test_a_new_server_after_close(tmp_path: Path) -> None:
    hosts = Hosts(stack=None)
    for _ in range(2):
        assert hosts.start("one", tmp_path / "host.log").ask(call("add", x=1, y=1), DEADLINE) == 2
        hosts.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_system_that_refuses_a_process_is_told_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(gone))
    before = open_files()
    with Hosts(stack=None) as hosts, pytest.raises(HostStartError) as caught:
        hosts.start("x", tmp_path / "x.log")
    assert str(caught.value) == f"no host can be started: {gone}: No such file or directory"
    assert open_files() == before


def test_a_server_that_still_imports_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that was mistyped need not wait for what it began ahead, nor leave it behind."""
    (tmp_path / "slow.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    server = ForkServer(("slow",), 600.0)
    try:
        server.dismiss()
        psutil.Process(server.pid).wait(DEADLINE)
    finally:
        server.stop()
    assert not psutil.pid_exists(server.pid)


@contextmanager
def ctrl_c_during(function: str) -> Iterator[None]:
    """A Ctrl-C once this thread is in it: one that comes before ends the tests."""
    asking, over = threading.get_ident(), threading.Event()

    def cut_the_wait() -> None:
        while not over.wait(0.01):
            if function in [frame.f_code.co_name for frame, _ in traceback.walk_stack(sys._current_frames()[asking])]:
                os.kill(os.getpid(), signal.SIGINT)
                return

    threading.Thread(target=cut_the_wait).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        over.set()


def test_a_host_whose_close_ctrl_c_cut_has_not_died(tmp_path: Path) -> None:
    events: list[tuple[str, Any]] = []
    with Hosts(stack=None, on_event=lambda state, fields: events.append((state, fields.get("exitcode")))) as hosts:
        host = hosts.start("one", tmp_path / "host.log")
        process = psutil.Process(host.pid)
        process.suspend()
        with ctrl_c_during("await_exit"):
            host.close()
        process.resume()
        end = time.monotonic() + DEADLINE
        while host.is_alive and time.monotonic() < end:
            time.sleep(0.01)
        host.close()
    assert events == [("started", None), ("closed", 0)]


def test_a_server_that_does_not_end_is_reaped_though_ctrl_c_cuts_the_wait() -> None:
    server = ForkServer((), 60.0)
    server._await_ready()
    before = open_files()
    os.kill(server.pid, signal.SIGSTOP)
    with ctrl_c_during("wait"):
        server.stop()
    assert not psutil.pid_exists(server.pid)
    assert open_files() == before - 2
