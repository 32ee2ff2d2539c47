"""Nodes accepted by a real Slurm: slurmd with stand-ins for their GPUs, some odd in a way of their own.

A straggler and a time limit are what must be waited for: jobs on nodes of their own do so at one time.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.commands import plimsoll
from tests.support.slurm import Cluster, cluster
from tests.support.subsession import ROOT, read_events

EIGHT = tuple(f"gpu{number:02}" for number in range(1, 9))
BESIDE = ("gpu09", "gpu10", "gpu11", "gpu12")
"""Nodes of the jobs that run while the straggler of the eight is waited for: a run without end, a run that is cut
short, an array."""
OTHERS = "gpu.2.processes = 4242:9000000000"
"""A GPU that others use: a run that waits for them ends when a test says so, however slow the machine is."""
SCENARIOS = {
    "gpu02": ("gpu.3.remap.failed = 1",),
    "gpu05": ("driver = 570.133.20",),
    **dict.fromkeys(("gpu03", "gpu04", "gpu07", "gpu09", "gpu10"), (OTHERS,)),
}
"""gpu02 has a GPU that must be replaced, gpu05 another driver. Others leave gpu04 late, gpu10 while its run is cut
short, and the rest never."""
CHOSEN = ("-m", "gpu1b", "-k", "health and not while_used or test_gpus_answer")
WITH_TENANTS = (
    *("-m", "gpu1b", "-k", "health and not while_used or test_gpus_answer or test_tenants", "--tenants=wait"),
    *("acceptance/test_health.py", "acceptance/test_node.py"),
)
LATE = 35.0
"""Seconds that gpu04's run takes beyond the longest of sound ones: a straggler is 30 s above the median."""
LATE_FACTOR = 1.6
"""How many times the longest of sound runs it takes: a straggler takes 1.5 times the median."""

pytestmark = pytest.mark.usefixtures("no_color")


@pytest.fixture(scope="module")
def no_color() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        yield


@pytest.fixture(scope="module")
def slurm(no_color: None) -> Iterator[Cluster]:
    with cluster((*EIGHT, *BESIDE), SCENARIOS) as started:
        yield started


@dataclass(frozen=True)
class JobBeside:
    """A job that is followed to its end beside whatever the tests do."""

    folder: Path
    ended: Future[dict[str, str]]
    """What Slurm tells of it then, or what went wrong until then."""

    @property
    def reports(self) -> Path:
        return self.folder / "job"


Beside = Callable[[str, Callable[[Path], Callable[[], dict[str, str]]]], JobBeside]


@pytest.fixture(scope="module")
def beside(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """Submit a job, and leave it to a thread to follow it: what submits it returns what follows it."""
    with ThreadPoolExecutor(len(BESIDE)) as threads:

        def begin(name: str, submit: Callable[[Path], Callable[[], dict[str, str]]]) -> JobBeside:
            folder = tmp_path_factory.mktemp(name)
            return JobBeside(folder, threads.submit(submit(folder)))

        yield begin
        slurm.is_over = True


def script(folder: Path, *options: str) -> Path:
    """The batch file that `plimsoll slurm script` writes."""
    done = plimsoll("slurm", "script", "--gpus-per-node=8", *options)
    assert done.returncode == 0, done.stderr
    path = folder / "plimsoll.sbatch"
    path.write_text(done.stdout)
    return path


def environment(reports: Path) -> dict[str, str]:
    return {"PLIMSOLL_REPORTS": str(reports), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}


def evidence(reports: Path, node: str) -> list[dict[str, Any]]:
    path = reports / "nodes" / node / "latest" / "evidence.jsonl"
    return read_events(path) if path.exists() else []


def runs_of(slurm: Cluster, node: str) -> list[psutil.Process]:
    """The processes of pytest on a node, and the srun that waits for them, if it runs there."""
    return [process for process in slurm.processes_of(node) if "pytest" in " ".join(_command(process))]


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def wait_for(slurm: Cluster, reports: Path, node: str, event: str) -> None:
    slurm.wait(
        f"{event} of {node}", lambda: any(each["event"] == event for each in evidence(reports, node)), timeout=150
    )


def seconds_of(reports: Path, node: str) -> float:
    """From the start of a node's run to its finish, or to now where it has none."""
    events = evidence(reports, node)
    [started] = [datetime.fromisoformat(each["at"]) for each in events if each["event"] == "run"]
    finished = [datetime.fromisoformat(each["at"]) for each in events if each["event"] == "finish"]
    return ((finished or [datetime.now(started.tzinfo)])[-1] - started).total_seconds()


def fleet_of(reports: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((reports / "fleet" / "fleet.json").read_text())
    return data


def test_eight_nodes_of_which_five_are_odd_have_one_verdict_and_each_its_reason(
    slurm: Cluster, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    reports = Path(os.environ.get("PLIMSOLL_FLEET_OUTPUT") or tmp_path / "job")
    batch = script(tmp_path, "--nodes=8", "--time=30", "--lead=60", "--shared")
    log = tmp_path / "job.log"
    options = ["--nodelist=gpu[01-08]", f"--output={log}"]
    job = slurm.submit(batch, *WITH_TENANTS, options=options, env=environment(reports))
    # In the middle of its run: the plan is made, and nothing has been reported yet.
    wait_for(slurm, reports, "gpu03", "plan")
    slurm.cut_power("gpu03")
    wait_for(slurm, reports, "gpu04", "run")
    prompt = sorted({*EIGHT} - {"gpu03", "gpu04", "gpu07"})
    for node in prompt:
        wait_for(slurm, reports, node, "finish")
    for other in ("run_without_end", "requeued", "array"):
        request.getfixturevalue(other)
    # Of each run's own time: on a busy machine gpu04 begins long after the others.
    longest = max(seconds_of(reports, node) for node in prompt)
    late = max(longest + LATE, LATE_FACTOR * longest)
    slurm.wait("gpu04's time", lambda: seconds_of(reports, "gpu04") > late, late + 10)
    slurm.play("gpu04")
    wait_for(slurm, reports, "gpu04", "finish")
    # What Slurm sends when the time limit is near; that it does, the run that does not end shows. gpu07 alone is still
    # waited for; a limit that is near from the beginning would come before the others' end on a busy machine.
    assert slurm.run("scancel", "--batch", "--signal=TERM", job).returncode == 0
    ended = slurm.wait_for_end(job, timeout=240)
    said = log.read_text()
    assert ended["ExitCode"] == "1:0", said
    assert "the time limit is near: the runs are stopped and judged" in said

    fleet = fleet_of(reports)
    assert fleet["statement"] == ("REJECTED over 8 expected nodes: 5 accepted, 1 rejected, 2 incomplete"), said
    assert fleet["expected"]["names"] == list(EIGHT)
    nodes = {node["name"]: node for node in fleet["nodes"]}
    words = {name: node["verdict"] for name, node in nodes.items()}
    assert words == {
        **dict.fromkeys(EIGHT, "ACCEPTED"),
        "gpu02": "REJECTED",
        "gpu03": "INCOMPLETE",
        "gpu07": "INCOMPLETE",
    }
    [rejected] = nodes["gpu02"]["reasons"]
    assert rejected["check"] == "acceptance/test_health.py::test_remapped_rows[gpu3]"
    assert "remap.failed is 1" in rejected["reason"]
    assert nodes["gpu02"]["drain"].startswith("scontrol update NodeName=gpu02 State=DRAIN 'Reason=[node_problem] ")
    assert nodes["gpu03"]["faults"] == ["the run did not finish: it was killed, or its last line is lost"]
    assert any(text.startswith("it took ") for text in nodes["gpu04"]["odd"]), nodes["gpu04"]["odd"]
    assert "driver is 570.133.20; on most it is 580.95.05" in nodes["gpu05"]["odd"]
    [cut] = nodes["gpu07"]["faults"]
    assert cut.startswith("the run was cut short: ")
    # gpu07 may be another, for it was waited for to the end: which of the two took longer is the machine's.
    [waited] = [straggler for straggler in fleet["stragglers"] if straggler["node"] == "gpu04"]
    assert waited["check"] == "acceptance/test_node.py::test_tenants"
    page = (reports / "fleet" / "fleet.html").read_text()
    assert all(name in page for name in ("gpu02", "gpu03", "gpu04", "gpu05", "gpu07"))


@pytest.fixture(scope="module")
def run_without_end(slurm: Cluster, beside: Beside) -> JobBeside:
    """A run that stands still, and whose time limit then comes near."""

    def submit(folder: Path) -> Callable[[], dict[str, str]]:
        reports, log = folder / "job", folder / "job.log"
        batch = script(folder, "--nodes=1", "--time=30", "--lead=30", "--shared")
        options = ["--nodelist=gpu09", f"--output={log}"]
        job = slurm.submit(batch, *WITH_TENANTS, options=options, env=environment(reports))

        def follow() -> dict[str, str]:
            wait_for(slurm, reports, "gpu09", "plan")
            # srun too: it then waits for ever, as where a process is stuck in a driver and cannot be killed.
            send(runs_of(slurm, "gpu09"), signal.SIGSTOP)
            # The limit comes near once the run stands still, for a busy machine would reach a near one before. Once
            # Slurm has told the job, which it does within 30 s, the limit is far again: how long a verdict takes is
            # not the subject.
            slurm.end_within(job, 60)
            slurm.wait("the signal", lambda: "the time limit is near" in log.read_text(), timeout=60)
            slurm.end_within(job, 1200)
            return slurm.wait_for_end(job, timeout=300)

        return follow

    return beside("run-without-end", submit)


def test_a_run_that_does_not_end_when_told_to_is_killed_in_time_for_the_verdict(run_without_end: JobBeside) -> None:
    ended, said = run_without_end.ended.result(), (run_without_end.folder / "job.log").read_text()
    assert ended["ExitCode"] == "6:0", said
    assert ended["JobState"] == "FAILED", "not TIMEOUT, nor CANCELLED: the script ended by itself"
    assert "the runs do not end, killed as they are" in said
    fleet = fleet_of(run_without_end.reports)
    assert fleet["statement"].startswith("INCOMPLETE over 1 expected node: 0 accepted, 1 incomplete")
    assert (run_without_end.reports / "fleet" / "fleet.html").is_file()


@pytest.fixture(scope="module")
def requeued(slurm: Cluster, beside: Beside) -> JobBeside:
    """A run that is cut short, and whose job begins anew."""

    def submit(folder: Path) -> Callable[[], dict[str, str]]:
        reports, log = folder / "job", folder / "job.log"
        batch = script(folder, "--nodes=1", "--shared")
        options = ["--nodelist=gpu10", f"--output={log}"]
        job = slurm.submit(batch, *WITH_TENANTS, options=options, env=environment(reports))

        def follow() -> dict[str, str]:
            wait_for(slurm, reports, "gpu10", "report")
            send(runs_of(slurm, "gpu10"), signal.SIGSTOP)
            slurm.play("gpu10")
            slurm.requeue(job)
            return slurm.wait_for_end(job, timeout=150)

        return follow

    return beside("requeued", submit)


def test_a_requeued_job_goes_on_where_its_run_was_cut_short(slurm: Cluster, requeued: JobBeside) -> None:
    ended, said = requeued.ended.result(), (requeued.folder / "job.log").read_text()
    assert (ended["ExitCode"], ended["Restarts"]) == ("0:0", "1"), said + slurm.logs()
    fleet = fleet_of(requeued.reports)
    [node] = fleet["nodes"]
    assert (fleet["verdict"], len(node["runs"])) == ("ACCEPTED", 2)


def test_runs_of_another_job_do_not_stand_for_those_of_this(slurm: Cluster, tmp_path: Path) -> None:
    reports = tmp_path / "job"
    reports.mkdir()
    (reports / "of-job-0").touch()
    batch = script(tmp_path, "--nodes=1", "--shared")
    options = ["--nodelist=gpu01", f"--output={tmp_path}/job.log"]
    ended = slurm.wait_for_end(slurm.submit(batch, *CHOSEN, options=options, env=environment(reports)), timeout=150)
    assert ended["ExitCode"] == "2:0"
    assert (
        "has runs of another job (of-job-0); give PLIMSOLL_REPORTS a new folder" in (tmp_path / "job.log").read_text()
    )
    # Nor do those that no job left.
    (reports / "of-job-0").unlink()
    (reports / "nodes" / "gpu01").mkdir(parents=True)
    ended = slurm.wait_for_end(slurm.submit(batch, *CHOSEN, options=options, env=environment(reports)), timeout=150)
    assert ended["ExitCode"] == "2:0"
    assert "has runs already, and not of this job" in (tmp_path / "job.log").read_text()
    judged = slurm.submit(batch, "--judge", "1", "1", options=options, env=environment(reports))
    assert slurm.wait_for_end(judged, timeout=150)["ExitCode"] == "6:0"


@pytest.fixture(scope="module")
def array(slurm: Cluster, beside: Beside) -> JobBeside:
    """The job that judges an array of two."""

    def submit(folder: Path) -> Callable[[], dict[str, str]]:
        reports = folder / "job"
        batch = script(folder, "--nodes=2", "--array")
        own = "--exclude=gpu[01-10]"
        job = slurm.submit(batch, *CHOSEN, options=[f"--output={folder}/%A_%a.log", own], env=environment(reports))
        judge = ["--array=1", f"--dependency=afterany:{job}", f"--output={folder}/judge.log", own]
        second = slurm.submit(batch, "--judge", job, "2", options=judge, env=environment(reports))
        return lambda: slurm.wait_for_end(second, timeout=150)

    return beside("array", submit)


def test_an_array_has_a_job_a_node_and_another_job_judges_all(array: JobBeside) -> None:
    ended = array.ended.result()
    assert ended["ExitCode"] == "0:0", (array.folder / "judge.log").read_text()
    fleet = fleet_of(array.reports)
    assert (fleet["statement"], sorted(node["name"] for node in fleet["nodes"])) == (
        "ACCEPTED over 2 expected nodes: 2 accepted",
        ["gpu11", "gpu12"],
    )


def test_the_example_is_what_the_command_writes() -> None:
    assert plimsoll("slurm", "script").stdout == (ROOT / "docs/examples/plimsoll.sbatch").read_text()
