"""Writes the batch script with which Slurm accepts nodes: one run a node, one verdict over all of them.

The script must end with a verdict whatever happens to it: before its time limit it stops the runs and judges what they
have; a node that is lost does not end the others; a requeued job goes on where its runs were cut short.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.suite import SHIPPED, suite_root

LEAST_LEAD: Final = 30
_TIME: Final = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d{1,2}){0,2})")
_SECONDS: Final = {1: (60,), 2: (60, 1), 3: (3600, 60, 1)}
_SECONDS_WITH_DAYS: Final = {1: (3600,), 2: (3600, 60), 3: (3600, 60, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """What the script asks of Slurm, and of pytest."""

    selection: tuple[str, ...] = ()
    """Arguments for pytest; where there are none, they stand behind the script when it is submitted."""
    nodes: int | None = None
    time: str = "08:00:00"
    partition: str | None = None
    gpus_per_node: str | None = None
    """Without it Slurm lets a job see no GPU, where it manages them."""
    exclusive: bool = True
    array: bool = False
    """An array of jobs of one node each, instead of one job of all."""
    lead: int = 300
    """Seconds before the time limit at which runs are stopped and judged."""
    container: str | None = None
    """An image of Apptainer (`.sif`), in which the runs are made."""


def script_text(job: BatchJob) -> str:
    """The batch script. Raises PlimsollError for a request that cannot be."""
    limit = seconds_of(job.time)
    if job.lead < LEAST_LEAD or job.lead >= limit:
        raise PlimsollError(
            f"--lead {job.lead}: runs are stopped and judged between {LEAST_LEAD} s before the time limit and its "
            f"whole length, which is {limit} s"
        )
    if job.array and job.nodes is None:
        raise PlimsollError("--array needs --nodes N: how many jobs of one node it is to have")
    template = resources.files("plimsoll.engines").joinpath("templates", "plimsoll.sbatch").read_text("utf-8")
    values = {
        "DIRECTIVES": "\n".join(f"#SBATCH {directive}" for directive in _directives(job)),
        "SELECTION": shlex.join(job.selection),
        **_programs(job, is_installed=suite_root() == SHIPPED),
        "LEAD": str(job.lead),
    }
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], template)


def seconds_of(time: str) -> int:
    """Slurm's `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]` as seconds.

    Raises PlimsollError for what is none.
    """
    found = _TIME.fullmatch(time)
    if found is None:
        raise PlimsollError(f"--time {time}: it is none of Slurm's times, such as 90, 08:00:00 or 1-12")
    parts = [int(part) for part in found["rest"].split(":")]
    scales = (_SECONDS if found["days"] is None else _SECONDS_WITH_DAYS)[len(parts)]
    return 86400 * int(found["days"] or 0) + sum(part * scale for part, scale in zip(parts, scales, strict=True))


def _directives(job: BatchJob) -> list[str]:
    one = ["--array=1-" + str(job.nodes), "--nodes=1"] if job.array else []
    return [
        "--job-name=plimsoll",
        *one,
        *([f"--nodes={job.nodes}"] if job.nodes is not None and not job.array else []),
        "--ntasks-per-node=1",
        *([f"--partition={_plain('--partition', job.partition)}"] if job.partition else []),
        *([f"--gpus-per-node={_plain('--gpus-per-node', job.gpus_per_node)}"] if job.gpus_per_node else []),
        *(["--exclusive", "--mem=0"] if job.exclusive else []),
        f"--time={job.time}",
        f"--signal=B:TERM@{job.lead}",
        "--no-kill",
        "--requeue",
        "--open-mode=append",
        f"--output=plimsoll-%{'A_%a' if job.array else 'j'}.log",
    ]


def _plain(option: str, value: str) -> str:
    """A value that stands in a directive, which ends at white space, or between quotes."""
    if not re.fullmatch(r"[\w.,:+@%/=-]+", value):
        raise PlimsollError(f"{option} {value!r}: the batch file takes no spaces and no quotes there")
    return value


def _programs(job: BatchJob, *, is_installed: bool) -> dict[str, str]:
    """What the script calls: from a checkout its own `.venv`, wherever the checkout lies on the cluster; from an
    installation, which has no folder of the suite, the interpreter that writes the script."""
    if is_installed:
        python, run = shlex.quote(sys.executable), "-P -m plimsoll run"
        submit = "Submit it in a folder that all nodes share, where the reports are to lie"
        install = "install it there on all nodes"
    else:
        python, run = ".venv/bin/python", "-m pytest"
        submit = "Submit it in the folder of the suite, where `make setup` has been run"
        install = "run make setup in the folder of the suite and submit there"
    values = {
        "PYTHON": python,
        "SUBMIT": submit,
        "INSTALL": install,
        "CHECK": '"$PLIMSOLL_PYTHON" -P -c "import plimsoll"',
        "NEEDED": "$PLIMSOLL_PYTHON has no Plimsoll there; install it at that path on all nodes",
        "RUN": f'"$PLIMSOLL_PYTHON" {run}',
    }
    if job.container is None:
        return values
    image = _plain("--container", job.container)
    return {
        **values,
        "CHECK": "command -v apptainer > /dev/null",
        "NEEDED": "apptainer is not there; install it on all nodes, or write the script without --container",
        "RUN": f'apptainer exec --nv --bind "$PWD" --pwd "$PWD" {image} python3 {run}',
    }


def arguments_of(mark: str | None, keyword: str | None, rest: Sequence[str]) -> tuple[str, ...]:
    """Arguments for pytest; `rest` may begin with the `--` that keeps them apart from the command's own."""
    chosen = [("-m", mark), ("-k", keyword)]
    named = [word for option, value in chosen if value is not None for word in (option, value)]
    return (*named, *(rest[1:] if list(rest[:1]) == ["--"] else rest))
