"""The examples under docs/examples: what they call exists, and what can be run here is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.cli import main
from plimsoll.commands.parser import build_parser
from tests.support.commands import plimsoll
from tests.support.compare_runs import noisy, timed_events, timed_run, write_run
from tests.support.slurm import submit
from tests.support.subsession import ROOT, run_inside

EXAMPLES = ROOT / "docs" / "examples"
SBATCH = EXAMPLES / "plimsoll.sbatch"
SELECTION = ("-m", "tiny and llama and bf16", "-k", "test_free")


def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / "github-workflow.yml").read_text())
    return loaded


def commands() -> Iterator[list[str]]:
    """The command of every step that runs one, variables filled in."""
    for job in workflow()["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                text = step["run"].replace("$MARKS", "gpu8b").replace("$BASELINE", "driver-570")
                yield shlex.split(text)


def called(tool: str) -> list[list[str]]:
    found = [rest for first, *rest in commands() if first == f".venv/bin/{tool}"]
    assert found, f"the workflow calls no {tool}"
    return found


def test_the_workflow_is_one_that_github_takes() -> None:
    data = workflow()
    # YAML 1.1 reads the bare word `on` as true.
    assert set(data) == {"name", True, "permissions", "jobs"}
    assert data["permissions"] == {"contents": "read"}
    for job in data["jobs"].values():
        assert {"if", "runs-on", "timeout-minutes", "steps"} <= set(job)
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
        kept = job["steps"][-1]
        assert kept["if"] == "always()", "evidence is kept of a run that failed, too"
        assert kept["uses"].startswith("actions/upload-artifact@")
    # Text from outside must not become a command: a mark with a quote in it would.
    text = (EXAMPLES / "github-workflow.yml").read_text()
    assert not re.search(r"run:.*\$\{\{", text)


@pytest.mark.parametrize("arguments", called("plimsoll"), ids=" ".join)
def test_the_commands_of_the_workflow_exist(arguments: list[str]) -> None:
    options = build_parser(arguments[0]).parse_args(arguments)
    assert callable(options.run)


@pytest.mark.parametrize("arguments", called("pytest"), ids=" ".join)
def test_the_selections_of_the_workflow_select_something(arguments: list[str], tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, *arguments, "-n", "0", "--collect-only", "-q")
    assert outcome.status == 0, outcome.output
    assert re.search(r"^[1-9]\d*/\d+ tests collected", outcome.output, re.MULTILINE)


@pytest.mark.parametrize("variants", [2, 4, 12])
@pytest.mark.parametrize(("slower", "status"), [(1.0, 0), (2.0, 1)])
def test_the_comparison_of_the_workflow_finds_a_doubled_load_and_passes_an_unchanged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variants: int, slower: float, status: int
) -> None:
    (asked,) = re.findall(r"--load-rounds=(\d+)", " ".join(word for call in called("pytest") for word in call))
    (arguments,) = [call for call in called("plimsoll") if call[0] == "compare"]
    base = {f"model-{i}/nf4": noisy(i, int(asked)) for i in range(variants)}
    other = {f"model-{i}/nf4": noisy(100 + i, int(asked)) for i in range(variants)}
    other["model-0/nf4"] = [slower * seconds for seconds in other["model-0/nf4"]]
    memory = dict.fromkeys(base, 10**9)
    write_run(tmp_path / "reports/baselines/nvidia-h200/570.1/driver-570", timed_events(base, memory=memory))
    latest = timed_run(tmp_path / "reports", "today", other, memory=memory)
    (tmp_path / "reports/latest").symlink_to(latest.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert main(arguments) == status
    assert ("1 time slower" in (tmp_path / "summary.md").read_text()) is (status == 1)


def test_the_rest_of_the_workflow_is_make_and_its_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    others = [command for command in commands() if not command[0].startswith(".venv/bin/")]
    assert others
    for command in others:
        assert command[0] == "make"
        assert set(command[1:]) <= set(targets)


def test_the_cache_is_keyed_by_what_the_checkpoints_depend_on() -> None:
    (key,) = {
        step["with"]["key"]
        for job in workflow()["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/cache@")
    }
    named = re.findall(r"'([^']+)'", key)
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def submitted(
    tmp_path: Path, *arguments: str, nodes: str = "a b", listed: str = "a,b", restarts: int = 0
) -> subprocess.CompletedProcess[str]:
    """The batch script as Slurm would run it on these nodes, of which it lists these."""
    told = {"SLURM_JOB_NODELIST": listed, "SLURM_RESTART_COUNT": str(restarts), "FAKE_NODES": nodes}
    return submit(SBATCH.read_text(), ROOT, tmp_path, told, *arguments)


def test_the_batch_script_is_sound_bash() -> None:
    done = subprocess.run(["/bin/bash", "-n", SBATCH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.access(SBATCH, os.X_OK)
    text = SBATCH.read_text()
    first_command = next(i for i, line in enumerate(text.splitlines()) if line and not line.startswith("#"))
    assert all(i < first_command for i, line in enumerate(text.splitlines()) if line.startswith("#SBATCH"))


def test_each_node_has_its_run_and_all_have_one_verdict(trained: dict[str, Path], tmp_path: Path) -> None:
    done = submitted(tmp_path, *SELECTION)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "job" / "nodes").iterdir()} == {"a", "b"}
    fleet = json.loads((tmp_path / "job" / "fleet" / "fleet.json").read_text())
    assert (fleet["verdict"], [node["name"] for node in fleet["nodes"]]) == ("ACCEPTED", ["a", "b"])
    assert {node["scope"] for node in fleet["nodes"]} == {"-m 'tiny and llama and bf16' -k test_free"}
    assert done.stdout.splitlines()[-1] == "ACCEPTED over 2 expected nodes: 2 accepted"
    assert (tmp_path / "job" / "fleet" / "fleet.html").is_file()
    # Requeued after the end, finished runs stand, and nothing is asked again.
    again = submitted(tmp_path, *SELECTION, restarts=1)
    assert again.returncode == 0, again.stdout + again.stderr
    after = json.loads((tmp_path / "job" / "fleet" / "fleet.json").read_text())
    assert [node["runs"] for node in after["nodes"]] == [node["runs"] for node in fleet["nodes"]]


def test_nodes_of_which_none_was_reached_are_not_accepted(tmp_path: Path) -> None:
    done = submitted(tmp_path, *SELECTION, nodes="")
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1] == "INCOMPLETE: no verdict over the nodes could be reached"


@pytest.mark.parametrize("python", ["/nowhere/python", "without"])
def test_a_node_without_plimsoll_is_not_judged_and_told_what_to_do(tmp_path: Path, python: str) -> None:
    if python == "without":
        python = f"{tmp_path}/without/bin/python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "without"], check=True, timeout=60)
    told = {"PLIMSOLL_PYTHON": python, "SLURM_JOB_NODELIST": "a", "FAKE_NODES": "a"}
    done = submit(SBATCH.read_text(), ROOT, tmp_path, told, *SELECTION)
    assert done.returncode == 6
    last = done.stderr.splitlines()[-1]
    assert last.startswith("INCOMPLETE: ")
    assert last.endswith(
        f" has no Plimsoll at {python}: run make setup in the folder of the suite and submit there, or submit with "
        "PLIMSOLL_PYTHON=/path/of/python, one that has it on all nodes"
    )
    assert not (tmp_path / "job").exists()


@pytest.mark.skipif(shutil.which("apptainer") is not None, reason="apptainer is here")
def test_a_node_without_the_program_of_containers_is_told_what_to_do(tmp_path: Path) -> None:
    written = plimsoll("slurm", "script", "--container=suite.sif")
    told = {"SLURM_JOB_NODELIST": "a", "FAKE_NODES": "a"}
    done = submit(written.stdout, ROOT, tmp_path, told, *SELECTION)
    assert done.returncode == 6
    assert (
        "INCOMPLETE: a cannot run the checks: apptainer is not there; install it on all nodes, or write the script "
        "without --container"
    ) in done.stderr.splitlines()


def test_a_node_that_left_no_run_is_not_accepted(trained: dict[str, Path], tmp_path: Path) -> None:
    done = submitted(tmp_path, *SELECTION, nodes="a")
    assert done.returncode == 6
    assert done.stdout.splitlines()[-1] == (
        "INCOMPLETE over 2 expected nodes: 1 accepted, 1 without evidence; no evidence of b"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "plimsoll.sbatch: say what the nodes must carry: sbatch plimsoll.sbatch -m gpu70b"),
        (
            ["-m", "no_such_mark"],
            5,
            "ERROR: unknown mark 'no_such_mark' in -m 'no_such_mark'; did you mean 'benchmark'?",
        ),
        (["-m", "tiny", "-k", "nothing_is_called_this"], 5, ""),
    ],
)
def test_what_cannot_run_is_not_accepted(tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    done = submitted(tmp_path, *arguments, nodes="a", listed="a")
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stderr.splitlines() or not says
