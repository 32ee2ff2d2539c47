"""Symptoms of processes that really end, disks that are really full, and a Hub that really refuses."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.failures import HostDied, HostFailure, HostTimeout
from plimsoll.host.protocol import Call
from plimsoll.manual.reading import read_manual
from plimsoll.symptoms.recognise import Seen, recognise
from plimsoll.symptoms.surroundings import Surroundings
from tests.support.hub_server import LOG_IN, NOT_ACCEPTED, HubServer, Refusal, Repository, serving
from tests.support.run_events import (
    cell,
    crash,
    finish,
    good_run,
    numbered,
    plan,
    report,
    run_of_every_outcome,
    start,
    write_events,
)
from tests.support.subsession import environment

ROOT = Path(__file__).parents[2]
BARE = Surroundings()


def ids(text: str, **evidence: object) -> list[str]:
    return [each.symptom for each in recognise(Seen(text=text, evidence=evidence), place=BARE)]


# Hosts ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(stack=None) as hosts:
        yield hosts


def failure_of(host: Host, function: str, deadline: float = 60.0, **arguments: object) -> HostFailure:
    with pytest.raises(HostFailure) as caught:
        host.ask(Call(target=f"tests.support.host_targets:{function}", arguments=arguments), deadline)
    return caught.value


@pytest.mark.parametrize(
    ("number", "symptom"),
    [
        (signal.SIGKILL, "killed"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGBUS, "bus-error"),
        (signal.SIGILL, "illegal-instruction"),
        (signal.SIGABRT, "crashed"),
    ],
)
def test_a_host_that_a_signal_ended(host: Host, number: signal.Signals, symptom: str) -> None:
    died = failure_of(host, "die_by", number=number, text="the last words")
    assert isinstance(died, HostDied)
    assert ids(str(died)) == [symptom], str(died)
    assert [each.symptom for each in recognise(died.seen(), place=BARE)] == [symptom]


def test_a_host_that_crashed(host: Host) -> None:
    assert ids(str(failure_of(host, "segfault"))) == ["crashed"]


def test_a_host_that_hangs(host: Host) -> None:
    # What it is asked next is imported, which on a busy machine may take all of its time: it would be short of it.
    host.ask(Call(target="tests.support.host_targets:add", arguments={"x": 1, "y": 1}), 60.0)
    missed = failure_of(host, "hang_in_python", deadline=2.0)
    assert isinstance(missed, HostTimeout)
    assert ids(str(missed)) == ["hang"]
    assert [each.symptom for each in recognise(missed.seen(), place=BARE)] == ["hang"]


def test_a_host_that_raised_is_recognised_by_what_it_raised(host: Host) -> None:
    assert ids(str(failure_of(host, "fail", message="No space left on device"))) == ["disk-full"]
    assert ids(str(failure_of(host, "fail", message="nothing that anybody knows"))) == []


# Limits of a process and a full disk ---------------------------------------------------------------------------------


def ended(code: str, **limits: int) -> str:
    """What a process says that runs into a limit of its own."""

    def limit() -> None:
        for name, most in limits.items():
            resource.setrlimit(getattr(resource, name), (most, most))

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, preexec_fn=limit, check=False
    )
    assert done.returncode != 0
    return f"{done.stderr}\nexit code {done.returncode}"


def test_a_full_disk(tmp_path: Path) -> None:
    assert ids(ended("open('/dev/full', 'w').write('x' * 100000)")) == ["disk-full"]


def test_a_file_beyond_a_quota(tmp_path: Path) -> None:
    code = (
        "import numpy; from safetensors.numpy import save_file; "
        f"save_file({{'x': numpy.zeros(100000)}}, {str(tmp_path / 'x.safetensors')!r})"
    )
    said = ended(code, RLIMIT_FSIZE=4096)
    assert ids(said) == ["disk-full"], said


def test_a_process_that_may_have_no_more_memory() -> None:
    said = ended("x = bytearray(2**31)", RLIMIT_AS=2**30)
    assert "MemoryError" in said
    assert ids(said) == ["ram"]


def test_a_control_group_that_ends_what_goes_over_its_limit(tmp_path: Path) -> None:
    """Where this may make a group of its own: it is ended by the kernel, and the group has counted it."""
    group, limit, counts = _group()
    try:
        limit.write_text(str(64 * 2**20))
        code = f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); x = bytearray(2**28)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        killed = dict(line.split() for line in counts.read_text().splitlines())["oom_kill"]
        assert int(killed) >= 1
        seen = Seen(signal="SIGKILL", evidence={"group_oom": int(killed) > 0})
        assert [each.symptom for each in recognise(seen, place=BARE)] == ["group-memory"]
    finally:
        with suppress(OSError):
            group.rmdir()


def _group() -> tuple[Path, Path, Path]:
    """A new group below the mount, with the files of its limit and of what it counts; skips where none may be made."""
    for mount, limit, counts in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
        (Path("/sys/fs/cgroup"), "memory.max", "memory.events"),
    ):
        group = mount / f"plimsoll-test-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                return group, group / limit, group / counts
            group.rmdir()
    pytest.skip("this user may make no control group here")


# The Hub, as transformers tells it -----------------------------------------------------------------------------------

ASK = """
import json, sys, time, traceback
# Settings are read without torch, which takes as long to import as all the rest.
sys.modules["torch"] = None
from transformers import AutoConfig
# The client asks as often as ever: half a minute between its attempts changes nothing in what it says.
time.sleep = lambda seconds: None
said = {}
for name in sys.argv[1:]:
    try:
        AutoConfig.from_pretrained(name)
    except BaseException:
        said[name] = traceback.format_exc()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    gated = "GatedRepo"
    refusals: dict[str, dict[str, Any]] = {
        "login": {"gate": Refusal(401, gated, LOG_IN)},
        "licence": {"gate": Refusal(403, gated, NOT_ACCEPTED)},
        "limited": {"refuses": Refusal(429, headers={"Retry-After": "0"})},
    }
    with serving({f"org/{name}": Repository(folder=folder, **how) for name, how in refusals.items()}) as server:
        yield server


def tracebacks(folder: Path, names: list[str], **variables: str) -> dict[str, str]:
    """What transformers raises for some repositories, with all causes."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env=environment({"HF_HOME": str(folder), "HF_TOKEN_PATH": str(folder / "none"), "HF_TOKEN": "", **variables}),
    )
    said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.fixture(scope="module")
def refused(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    names = ["org/login", "org/licence", "org/nowhere", "org/limited"]
    return tracebacks(tmp_path_factory.mktemp("hf"), names, HF_ENDPOINT=hub.endpoint)


@pytest.mark.parametrize(
    ("name", "symptom"),
    [("login", "not-logged-in"), ("licence", "licence"), ("nowhere", "wrong-id"), ("limited", "rate-limit")],
)
def test_what_transformers_makes_of_a_refusal_of_the_hub(refused: dict[str, str], name: str, symptom: str) -> None:
    said = refused[f"org/{name}"]
    assert ids(said) == [symptom], said


def test_what_transformers_says_where_nobody_is_asked_or_reached(tmp_path: Path) -> None:
    offline = tracebacks(tmp_path, ["org/any"], HF_HUB_OFFLINE="1")["org/any"]
    assert ids(offline) == ["offline"], offline
    unreached = tracebacks(tmp_path, ["org/any"], HF_ENDPOINT="http://127.0.0.1:1")["org/any"]
    assert ids(unreached) == ["offline"], unreached


# The command ---------------------------------------------------------------------------------------------------------


def explain(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plimsoll", "explain", *arguments],
        input=said,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def test_explain_a_text_a_file_and_what_is_piped_in(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("noise\n" * 1000 + "OSError: [Errno 28] No space left on device\n")
    for done in (
        explain("OSError: [Errno 28] No space left on device"),
        explain("OSError:", "[Errno", "28]", "No", "space", "left", "on", "device"),
        explain(str(log)),
        explain("-", said=log.read_text()),
    ):
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("disk-full: The disk is full\n  cause: ")
        assert "\n  see:   docs/troubleshooting.md#disk-full\n" in done.stdout


def test_explain_says_that_it_knows_nothing_and_does_not_guess() -> None:
    done = explain("the moon is full")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("nothing that the table knows")


def test_explain_shows_one_symptom_and_all_of_them() -> None:
    assert "sliding_window" in explain("sliding-window").stdout
    listed = explain("--list").stdout.splitlines()
    assert len(listed) > 40
    assert "disk-full: The disk is full" in listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what is to be explained"),
        (("--catalogue=nowhere.toml", "x"), "nowhere.toml: there is no such file"),
        (("logs/nowhere.log",), "logs/nowhere.log: there is no such file or run"),
        (("latest", "--report-dir=/nowhere"), "no run 'latest'"),
    ],
)
def test_explain_refuses_what_it_cannot_read(arguments: tuple[str, ...], said: str) -> None:
    done = explain(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_says_of_a_run_what_no_symptom_explains(tmp_path: Path) -> None:
    cells = [cell(name, id=f"acceptance/test_load.py::{name}[tiny-llama/nf4]") for name in ("test_kept", "test_eval")]
    loads = replace(cells[0], id="acceptance/test_load.py::test_loads_completely[tiny-llama/nf4]")
    said = "the folder is damaged: model.safetensors has other bytes than it was entered with; fetch them again"
    refused = [report(one, "setup", "failed", crash(said)) for one in (loads, *cells)]
    write_events(tmp_path, numbered([start(), plan([loads, *cells]), *refused, finish(1)]))
    done = explain(str(tmp_path))
    assert done.returncode == 1, done.stderr
    told = " ".join(done.stdout.split())
    assert told.count(said) == 1
    assert "test_kept" in told
    [entry] = [e for c in read_manual(ROOT) for e in c.entries if e.check.name == "test_loads_completely"]
    assert f"next: {entry.do}" in told


def test_explain_says_the_value_that_no_symptom_explains(tmp_path: Path) -> None:
    write_events(tmp_path, numbered(run_of_every_outcome()))
    assert "figure: Load time 3 s, at most 2 s (50 % outside)" in explain(str(tmp_path)).stdout


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_run_that_was_cut_short_is_not_well(is_cut: bool, tmp_path: Path) -> None:
    events = good_run([cell("test_peak")])
    write_events(tmp_path, numbered(events[:-3] if is_cut else events))
    done = explain(str(tmp_path))
    assert done.returncode == (1 if is_cut else 0), done.stderr
    if is_cut:
        assert "not accepted: the run did not finish" in done.stdout
        assert f"next:  plimsoll report {tmp_path} says what is missing" in done.stdout
    else:
        assert done.stdout == "nothing failed, and nothing was skipped: there is nothing to explain\n"
