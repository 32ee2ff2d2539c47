"""What the pods of the manifests run, run by bash on folders of this machine in place of the claim."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.engines.kubernetes import KubernetesJob, scripts
from tests.support.fleet_runs import MadeNode, write_fleet_of, write_node
from tests.support.subsession import environment

JOB = KubernetesJob(image="a", selection=("-m", "tiny"), nodes=2)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with `plimsoll`, and a `python3` that plays pytest: it ends with PYTEST_ENDS, with 3 after Ctrl-C."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "plimsoll").write_text(f'#!/bin/sh\nexec {sys.executable} -m plimsoll "$@"\n')
    (folder / "python3").write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\nfrom pathlib import Path\n"
        f"Path({str(tmp_path / 'asked')!r}).write_text(' '.join(sys.argv[1:]))\n"
        "try:\n"
        "    if waits := os.environ['PYTEST_WAITS']:\n"
        "        Path(waits).touch()\n"
        "        time.sleep(50)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(3)\n"
        "sys.exit(int(os.environ['PYTEST_ENDS']))\n"
    )
    for each in folder.iterdir():
        each.chmod(0o755)
    return folder


def begun(script: str, folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """A script of a pod, with the claim in `folder`/evidence."""
    for place in ("/evidence", "/dev/termination-log", "/tmp/said"):  # noqa: S108
        script = script.replace(place, f"{folder}/{place.rpartition('/')[2]}")
    return subprocess.Popen(
        ["/bin/bash", "-c", script, "plimsoll", *arguments],
        cwd=Path.cwd(),
        env=environment({**env, "PATH": f"{folder}/tools:{os.environ['PATH']}"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def judged(folder: Path) -> tuple[int, str]:
    process = begun(scripts(JOB).judge, folder)
    process.communicate(timeout=60)
    return process.returncode, (folder / "termination-log").read_text().strip()


@pytest.mark.usefixtures("tools")
def test_the_verdict_is_of_one_job_and_of_each_evidence_once(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    assert judged(tmp_path) == (6, "INCOMPLETE: no run began")
    write_fleet_of(evidence / "uid1" / "nodes", 1)
    said = "INCOMPLETE over 2 expected nodes: 1 accepted, 1 without evidence; 2 nodes are expected, and 1 left evidence"
    assert judged(tmp_path) == (6, said)
    write_node(evidence / "uid1" / "nodes", MadeNode(name="node02"))
    assert judged(tmp_path) == (0, "ACCEPTED over 2 expected nodes: 2 accepted")
    assert (evidence / "uid1" / "fleet" / "fleet.html").is_file()
    assert not (evidence / "uid1" / "judging").exists()
    # A later Job of which no pod began: what the earlier one left is no answer.
    status, told = judged(tmp_path)
    assert (status, told.partition("nodes was")[0][:37]) == (6, "INCOMPLETE: nothing was written since")
    write_fleet_of(evidence / "uid2" / "nodes", 1)
    status, told = judged(tmp_path)
    assert status == 6
    assert told.startswith(
        f"INCOMPLETE: the claim has runs of several Jobs, {evidence}/uid1/nodes {evidence}/uid2/nodes"
    )


@pytest.mark.usefixtures("tools")
def test_a_verdict_that_was_not_reached_can_be_asked_again(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    write_fleet_of(evidence / "uid1" / "nodes", 2)
    (evidence / "uid1" / "fleet").write_text("in the way of the folder")
    assert judged(tmp_path)[0] == 2
    (evidence / "uid1" / "fleet").unlink()
    assert judged(tmp_path) == (0, "ACCEPTED over 2 expected nodes: 2 accepted")


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("ends", ["0", "1", "6"])
def test_a_pod_ends_as_its_run_does(tmp_path: Path, ends: str) -> None:
    node = {"PLIMSOLL_JOB": "uid1", "PLIMSOLL_NODE": "node01", "PYTEST_ENDS": ends, "PYTEST_WAITS": ""}
    process = begun(scripts(JOB).accept, tmp_path, "-m", "tiny", **node)
    process.communicate(timeout=60)
    assert process.returncode == int(ends)
    place = f"--report-dir={tmp_path}/evidence/uid1/nodes/node01"
    assert (tmp_path / "asked").read_text().split() == ["-m", "pytest", place, "-m", "tiny"]


@pytest.mark.usefixtures("tools")
def test_a_pod_that_is_told_to_end_waits_for_its_run(tmp_path: Path) -> None:
    waits = tmp_path / "waits"
    node = {"PLIMSOLL_JOB": "uid1", "PLIMSOLL_NODE": "node01", "PYTEST_ENDS": "0", "PYTEST_WAITS": str(waits)}
    process = begun(scripts(JOB).accept, tmp_path, "-m", "tiny", **node)
    while not waits.exists():
        assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 3
