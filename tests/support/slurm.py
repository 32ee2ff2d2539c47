"""A real Slurm on this machine: slurmctld, and a slurmd for each of several nodes, with GPUs that a stand-in plays.

It needs Debian's packages slurmctld, slurmd, slurm-client and munge, and root: daemons that are started for the test
alone, with sockets, ports, keys and folders of their own. Where that cannot be had the tests skip with the reason,
unless PLIMSOLL_TEST_SLURM=required says that it must be there.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import psutil
import pytest

from tests.support.nvml import play, stand_in
from tests.support.subsession import ROOT, environment

GPUS: Final = 8
_PROGRAMS: Final = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo", "munged", "cc")
_PACKAGES: Final = "Debian, as root: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
_NVIDIA_MAJOR: Final = 195
_ENDS: Final = 20.0
_SCENARIO: Final = "eight-h100"


@dataclass
class Cluster:
    """The daemons, and where they keep their things."""

    folder: Path
    nodes: tuple[str, ...]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    is_over: bool = False
    """Whether nothing of it is of interest any more: whoever waits in another thread gives up."""

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a user of this Slurm has set."""
        sbin = f"/usr/sbin:/sbin:{os.environ['PATH']}"
        return {**environment(), "SLURM_CONF": str(self.conf), "PATH": sbin}

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """A command of Slurm, in the folder of the suite."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def submit(self, script: Path, *arguments: str, options: Sequence[str] = (), env: Mapping[str, str]) -> str:
        """Submit a batch file and return the number of its job."""
        done = self.run("sbatch", "--parsable", *options, str(script), *arguments, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().partition(";")[0]

    def state(self, job: str) -> dict[str, str]:
        """What scontrol tells of a job."""
        told = self.run("scontrol", "--oneliner", "show", "job", job).stdout
        return dict(word.partition("=")[::2] for word in told.split() if "=" in word)

    def end_within(self, job: str, seconds: float) -> None:
        """Bring the time limit of a job that runs to so many seconds from now."""
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + seconds))
        done = self.run("scontrol", "update", f"JobId={job}", f"EndTime={end}")
        assert done.returncode == 0, done.stderr

    def requeue(self, job: str) -> None:
        """Have a job that runs begin anew, at once rather than in two minutes, and yet in a later second than the one
        in which it ended: slurmd knows the credential that it revoked by the second, and would refuse the new one."""
        done = self.run("scontrol", "requeue", job)
        assert done.returncode == 0, done.stderr
        self.wait("the requeued job", lambda: self.state(job).get("JobState") == "PENDING", 60)
        time.sleep(1.5)
        done = self.run("scontrol", "update", f"JobId={job}", "StartTime=now")
        assert done.returncode == 0, done.stderr

    def wait(self, what: str, holds: Callable[[], bool], timeout: float = 120.0, every: float = 0.05) -> None:
        """Wait until something holds, and look `every` so many seconds. Raises AssertionError, with what the controller
        said, where it never does."""
        end = time.monotonic() + timeout
        while not holds():
            if self.is_over:
                raise AssertionError(f"{what}: not before the tests were over")
            if time.monotonic() > end:
                raise AssertionError(f"{what}: never within {timeout:g} s\n{self.logs()}")
            time.sleep(every)

    def logs(self) -> str:
        """The end of what each daemon wrote."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))

    def wait_for_end(self, job: str, timeout: float) -> dict[str, str]:
        """The state of a job once it has ended."""
        over = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")
        # Each look is a process, on a machine that the job needs.
        self.wait(f"the end of job {job}", lambda: self.state(job).get("JobState") in over, timeout, every=0.5)
        return self.state(job)

    def processes_of(self, node: str) -> list[psutil.Process]:
        """What runs of jobs on a node: processes that Slurm told the node's name."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                told = process.environ()
                if told.get("SLURMD_NODENAME") == node and told.get("SLURM_CONF", "") == str(self.conf):
                    found.append(process)
        return found

    def play(self, node: str, *lines: str) -> None:
        """Let the driver of a node answer by these lines, and by none that it had before; also while it is asked."""
        play(self.driver_of(node), _SCENARIO, *self.lines_of(node, *lines))

    def driver_of(self, node: str) -> Path:
        """The folder of the stand-in for a node's driver."""
        return self.folder / "nvml" / node

    def lines_of(self, node: str, *lines: str) -> tuple[str, ...]:
        """Lines of a node's scenario, after those that name its GPUs."""
        return (f"gpu.?.uuid = GPU-{self.nodes.index(node):08}-0000-4000-8000-00000000000{{gpu}}", *lines)

    def cut_power(self, node: str) -> None:
        """End everything of a node at once, its daemon first, as a power failure does."""
        daemon = psutil.Process(self.daemons[node].pid)
        for process in (*daemon.children(recursive=True), daemon, *_stepds(self, node), *self.processes_of(node)):
            with suppress(psutil.Error):
                process.kill()


def _stepds(made: Cluster, node: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_stepd_of(process, made, node)]


def _is_stepd_of(process: psutil.Process, made: Cluster, node: str) -> bool:
    """Whether it is a step's keeper on this node of this cluster; another one may run beside it."""
    with suppress(psutil.Error, OSError):
        if process.name() == "slurmstepd":
            words = " ".join(process.cmdline() + list(process.environ().values()))
            return f"/{node}" in words and str(made.folder) in words
    return False


@contextmanager
def cluster(nodes: Sequence[str], scenarios: Mapping[str, Sequence[str]]) -> Iterator[Cluster]:
    """A cluster of these nodes; `scenarios` has lines for the stand-in of a node's NVML."""
    _require()
    # A short path: sockets lie in it.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    made = Cluster(folder=folder, nodes=tuple(nodes))
    try:
        _devices(folder)
        for node in nodes:
            stand_in(made.driver_of(node), _SCENARIO, *made.lines_of(node, *scenarios.get(node, ())))
        _configure(made)
        _start(made)
        yield made
    finally:
        _stop(made)
        shutil.rmtree(folder, ignore_errors=True)


def _require() -> None:
    path = f"/usr/sbin:/sbin:{os.environ['PATH']}"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        _absent(f"no {', '.join(missing)}; {_PACKAGES}")
    if os.geteuid() != 0:
        _absent("slurmd starts jobs as their users, and so needs root")


def _absent(why: str) -> NoReturn:
    if os.environ.get("PLIMSOLL_TEST_SLURM") == "required":
        pytest.fail(f"PLIMSOLL_TEST_SLURM=required, and {why}", pytrace=False)
    pytest.skip(f"no Slurm to test with: {why}")


def _devices(folder: Path) -> None:
    """Device files as NVIDIA's driver makes them: Slurm refuses plain files."""
    (folder / "dev").mkdir()
    try:
        for number in range(GPUS):
            os.mknod(folder / "dev" / f"nvidia{number}", 0o20666, os.makedev(_NVIDIA_MAJOR, number))
    except PermissionError:
        _absent("device files cannot be made here (CAP_MKNOD)")


def _free_ports(count: int) -> list[int]:
    """None of those that the system gives to who asks for any: until a daemon takes one, a test beside this one, or a
    connection, might be given it."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    others = [*range(1024, low), *range(high + 1, 65536)] or [*range(1024, 65536)]
    random.shuffle(others)
    with ExitStack() as taken:
        found: list[int] = []
        for port in others:
            if len(found) == count:
                break
            with suppress(OSError):
                taken.enter_context(socket.socket()).bind(("", port))
                found.append(port)
    assert len(found) == count, "too few ports are free"
    return found


def _configure(made: Cluster) -> None:
    folder, host = made.folder, socket.gethostname().split(".")[0]
    control, *ports = _free_ports(1 + len(made.nodes))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    prolog = folder / "task_prolog"
    prolog.write_text(f'#!/bin/sh\necho "export LD_LIBRARY_PATH={folder}/nvml/$SLURMD_NODENAME"\n')
    prolog.chmod(0o755)
    lines = [
        "ClusterName=test",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={control}",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={folder}/munge.socket",
        f"StateSaveLocation={folder}/state",
        f"SlurmctldPidFile={folder}/ctld.pid",
        f"SlurmctldLogFile={folder}/ctld.log",
        f"SlurmdSpoolDir={folder}/spool/%n",
        f"SlurmdPidFile={folder}/spool/%n.pid",
        f"SlurmdLogFile={folder}/%n.log",
        "SlurmdParameters=config_overrides",
        f"TaskProlog={prolog}",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "SwitchType=switch/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=1,sched_interval=5",
        "ReturnToService=2",
        "SlurmdTimeout=10",
        "KillWait=5",
        "OverTimeLimit=0",
        "GresTypes=gpu",
        "AccountingStorageType=accounting_storage/none",
        "JobAcctGatherType=jobacct_gather/none",
        *(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=500 "
            f"Gres=gpu:h100:{GPUS}"
            for node, port in zip(made.nodes, ports, strict=True)
        ),
        f"PartitionName=all Nodes={','.join(made.nodes)} Default=YES MaxTime=INFINITE State=UP",
    ]
    made.conf.write_text("\n".join(lines) + "\n")
    (folder / "gres.conf").write_text(f"Name=gpu Type=h100 File={folder}/dev/nvidia[0-{GPUS - 1}]\n")
    (folder / "cgroup.conf").write_text("")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)


def _start(made: Cluster) -> None:
    folder = made.folder
    folder.chmod(0o755)
    munge = [
        *("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"),
        *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"),
    ]
    _daemon(made, "munged", munge)
    made.wait("munged", (folder / "munge.socket").exists, 20)
    _daemon(made, "slurmctld", ["slurmctld", "-D", "-c", "-i", "-f", str(made.conf)])
    for node in made.nodes:
        _daemon(made, node, ["slurmd", "-D", "-N", node, "-f", str(made.conf)])
    made.wait(
        "nodes", lambda: made.run("sinfo", "-h", "-o", "%D %t").stdout.split() == [str(len(made.nodes)), "idle"], 60
    )


def _daemon(made: Cluster, name: str, command: list[str]) -> None:
    with (made.folder / f"{name}.out").open("wb") as out:
        made.daemons[name] = subprocess.Popen(
            command, env=made.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )


def _stop(made: Cluster) -> None:
    """End the daemons and whatever they started, and nothing else: by their own process numbers. At once, for nothing
    of theirs is kept, and a slurmctld that is asked to end waits for nodes that are gone."""
    for node in made.nodes:
        for process in (*_stepds(made, node), *made.processes_of(node)):
            with suppress(psutil.Error):
                process.kill()
    for daemon in made.daemons.values():
        daemon.kill()
    for daemon in made.daemons.values():
        daemon.wait(_ENDS)


# What `srun` and `scontrol` do, as far as the script relies on it: the command once a node, each with the node's name,
# and the worst status at the end; the names of a list. tests/sessions/test_slurm.py has a real Slurm.
SRUN = """\
#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
worst=0
for node in $FAKE_NODES; do
  SLURMD_NODENAME=$node "$@"; status=$?
  [ "$status" -gt "$worst" ] && worst=$status
done
exit "$worst"
"""
SCONTROL = """\
#!/bin/bash
[ "$1 $2" = "show hostnames" ] && tr ',' '\\n' <<< "$3"
"""


def submit(
    script: str, folder: Path, tmp_path: Path, told: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A batch script as Slurm would run it, submitted in this folder; `told` is what differs in its environment."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    slurm = {
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "42",
        "PLIMSOLL_REPORTS": str(tmp_path / "job"),
        "PATH": f"{tools}:{os.environ['PATH']}",
        **told,
    }
    return subprocess.run(
        # Slurm runs a copy of the script that lies elsewhere.
        ["/bin/bash", "-s", "--", *arguments],
        input=script,
        cwd=tmp_path,
        env=environment(slurm),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
