"""The batch file that `plimsoll slurm script` writes: what it asks of Slurm, and what Slurm would not take."""

from __future__ import annotations

import pytest

from plimsoll.engines.slurm_script import seconds_of
from plimsoll.errors import PlimsollError
from tests.support.commands import plimsoll
from tests.support.subsession import ROOT


def script(*options: str) -> str:
    done = plimsoll("slurm", "script", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_the_example_is_what_the_command_writes() -> None:
    assert script() == (ROOT / "docs" / "examples" / "plimsoll.sbatch").read_text()


def test_the_script_survives_its_time_limit_a_lost_node_and_a_requeue() -> None:
    asked = directives(script())
    assert {"--signal=B:TERM@300", "--no-kill", "--requeue", "--open-mode=append"} <= set(asked)
    assert "srun --no-kill --kill-on-bad-exit=0 --wait=0 " in script()


def test_what_is_asked_stands_in_the_directives() -> None:
    asked = directives(script("--nodes=4", "--time=1-12", "--partition=big", "--gpus-per-node=h100:8", "--lead=600"))
    assert {
        "--nodes=4",
        "--time=1-12",
        "--partition=big",
        "--gpus-per-node=h100:8",
        "--signal=B:TERM@600",
        "--exclusive",
    } <= set(asked)
    assert not {"--exclusive", "--mem=0"} & set(directives(script("--shared")))


def test_an_array_has_jobs_of_one_node() -> None:
    asked = directives(script("--array", "--nodes=16"))
    assert {"--array=1-16", "--nodes=1", "--output=plimsoll-%A_%a.log"} <= set(asked)


def test_a_selection_is_quoted_for_the_shell() -> None:
    text = script("-m", "gpu8b and not health", "-k", "it's; rm -rf /", "--", "--soak=1min")
    assert """selection=(-m 'gpu8b and not health' -k 'it'"'"'s; rm -rf /' --soak=1min)\n""" in text


def test_a_container_holds_the_runs() -> None:
    text = script("--container=/images/suite.sif")
    assert 'exec apptainer exec --nv --bind "$PWD" --pwd "$PWD" /images/suite.sif python3 -m pytest "--report' in text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--time=soon"], "--time soon: it is none of Slurm's times, such as 90, 08:00:00 or 1-12"),
        (
            ["--time=5"],
            "--lead 300: runs are stopped and judged between 30 s before the time limit and its",
        ),
        (["--lead=5"], "--lead 5: runs are stopped and judged between 30 s before the time limit"),
        (["--array"], "--array needs --nodes N"),
        (["--nodes=0"], "argument --nodes: must be a whole number from 1 to 1,000,000,000, not '0'"),
        (["--partition=a b"], "--partition 'a b': the batch file takes no spaces and no quotes"),
        (["--container=it's.sif"], "the batch file takes no spaces and no quotes there"),
        (["--gpus-per-node=8\n#SBATCH --uid=0"], "the batch file takes no spaces and no quotes"),
    ],
)
def test_what_slurm_would_not_take_is_one_message(options: list[str], says: str) -> None:
    done = plimsoll("slurm", "script", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("90:30", 5430), ("08:00:00", 28800), ("1-12", 129600), ("1-12:30", 131400), ("2-0:0:1", 172801)],
)
def test_times_are_read_as_slurm_reads_them(time: str, seconds: int) -> None:
    assert seconds_of(time) == seconds


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(PlimsollError, match="none of Slurm's times"):
        seconds_of("1:2:3:4")
