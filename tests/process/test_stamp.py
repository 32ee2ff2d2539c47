"""The stamp of acceptance, made and checked by real processes that ask a stand-in for NVML."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

from plimsoll.commands.schema import schema
from tests.support.fleet_runs import MadeNode, events_of, without_cells, write_node
from tests.support.forked_sessions import run_python
from tests.support.nvml import play, stand_in
from tests.support.subsession import ROOT, environment

NODE = MadeNode(name="gpu07")
UUIDS = "gpu.?.uuid = GPU-gpu07-{gpu}"


class Node:
    """A folder for a node's driver, its runs and its stamp."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nvml = stand_in(folder / "nvml", "eight-h100", UUIDS)
        self.stamp = folder / "stamp" / "stamp.json"

    def slurm(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        variables = environment({"LD_LIBRARY_PATH": str(self.nvml), "SLURMD_NODENAME": "gpu07", **env})
        asked = ("-m", "plimsoll", "slurm", *arguments, f"--stamp={self.stamp}")
        return run_python(*asked, env=variables, timeout=60)

    def stamped(self, made: MadeNode = NODE) -> subprocess.CompletedProcess[str]:
        return self.slurm("stamp", str(write_node(self.folder / "runs", made)))

    def redate(self, at: datetime) -> None:
        data = json.loads(self.stamp.read_text())
        self.stamp.write_text(json.dumps({**data, "accepted_at": at.isoformat()}))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_an_accepted_node_is_stamped_and_found_as_it_was(node: Node) -> None:
    done = node.stamped()
    assert done.returncode == 0, done.stderr
    assert f"stamped {node.stamp}: ACCEPTED over -m gpu8b on 8 of 8 GPUs: " in done.stdout
    assert f"timeout 8 plimsoll slurm check --stamp {node.stamp}" in done.stdout
    node.redate(datetime.now(UTC) - timedelta(hours=1))
    found = node.slurm("check")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("OK: accepted ")
    told = json.loads(node.slurm("check", "--json").stdout)
    jsonschema.Draft202012Validator(schema("stamp-check")).validate(told)
    assert (told["accepted"], told["drain"]) == (True, None)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["driver = 570.1"], "driver 580.95.05 was accepted, and 570.1 is here"),
        (["count = 7"], "1 of 8 accepted GPUs are not here, such as GPU-gpu07-7"),
        (["gpu.3.uuid = GPU-other"], "1 of 8 accepted GPUs are not here, such as GPU-gpu07-3"),
        (["gpu.5.lost = 15"], "a GPU gives no answer: GPU is lost"),
        (["init = !9"], "NVML did not start: "),
    ],
)
def test_a_node_that_is_not_as_it_was_accepted_is_told_apart(node: Node, lines: list[str], why: str) -> None:
    node.stamped()
    node.redate(datetime.now(UTC))
    assert node.slurm("check").returncode == 0
    play(node.nvml, "eight-h100", UUIDS, *lines)
    found = node.slurm("check")
    assert found.returncode == 1
    assert why in found.stdout
    command = found.stdout.splitlines()[1]
    assert command.startswith(
        "to take it out of service: scontrol update NodeName=gpu07 State=DRAIN 'Reason=[node_problem] plimsoll: "
    )


def test_a_version_that_is_no_text_is_no_answer_and_no_traceback(node: Node) -> None:
    node.stamped()
    node.redate(datetime.now(UTC))
    scenario = node.nvml / "scenario"
    scenario.write_bytes(scenario.read_bytes() + b"driver = 580\xff\n")
    found = node.slurm("check", "--nagios")
    assert (found.returncode, found.stderr) == (3, "")
    assert found.stdout.startswith("UNKNOWN: a GPU gives no answer: ")


@pytest.mark.parametrize(
    ("age", "options", "why"),
    [
        (timedelta(hours=200), [], "the acceptance is 200 h old, and 168 h are allowed"),
        (timedelta(hours=3), ["--max-age=2"], "the acceptance is 3 h old, and 2 h are allowed"),
        (timedelta(hours=-3), [], "the acceptance is of the future: "),
    ],
)
def test_an_acceptance_that_is_not_of_late_is_none(node: Node, age: timedelta, options: list[str], why: str) -> None:
    node.stamped()
    node.redate(datetime.now(UTC) - age)
    found = node.slurm("check", *options)
    assert found.returncode == 1
    assert why in found.stdout


def test_nagios_is_told_what_is_known_and_what_is_not(node: Node) -> None:
    assert node.slurm("check", "--nagios").returncode == 2
    node.stamp.parent.mkdir()
    node.stamp.write_text("{}")
    unknown = node.slurm("check", "--nagios")
    assert (unknown.returncode, unknown.stdout[:8]) == (3, "UNKNOWN:")


def test_nothing_is_drained_unless_that_is_asked(node: Node, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/drained\n')
    (tools / "scontrol").chmod(0o755)
    path = f"{tools}:/usr/bin:/bin"
    assert node.slurm("check", PATH=path).returncode == 1
    assert not (tmp_path / "drained").exists()
    assert node.slurm("check", "--drain", PATH=path).returncode == 1
    told = (tmp_path / "drained").read_text().splitlines()
    assert told[:3] == ["update", "NodeName=gpu07", "State=DRAIN"]
    assert told[3].startswith("Reason=[node_problem] plimsoll: no acceptance is on record")
    (tmp_path / "drained").unlink()
    for several in ("gpu[01-16]", "gpu01,gpu02", "ALL"):
        refused = node.slurm("check", "--drain", f"--node={several}", PATH=path)
        assert refused.returncode == 2
        assert f"# no command for {several}: Slurm takes that for several nodes" in refused.stdout
        assert f"--drain: {several}: Slurm takes that for several nodes; give one node's own name" in refused.stderr
        assert not (tmp_path / "drained").exists()
    (tools / "scontrol").write_text("#!/bin/sh\necho no such node >&2; exit 1\n")
    failed = node.slurm("check", "--drain", PATH=path)
    assert (failed.returncode, "--drain: scontrol ended with 1: no such node" in failed.stderr) == (2, True)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (replace(NODE, failing=((3, "ecc"),)), "is not accepted, and no stamp is made of it: REJECTED over "),
        (replace(NODE, ends=False), "is not accepted, and no stamp is made of it: INCOMPLETE over "),
        (replace(NODE, uuid_of="gpu08"), "is not of this node as it is now: 8 of 8 accepted GPUs are not here"),
        (replace(NODE, driver="570.1"), "is not of this node as it is now: driver 570.1 was accepted"),
        (replace(NODE, gpus=7), "is not of this node as it is now: 1 GPUs were never accepted"),
    ],
)
def test_only_an_accepted_run_of_this_node_is_stamped(node: Node, made: MadeNode, why: str) -> None:
    done = node.stamped(made)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert not node.stamp.exists()


@pytest.mark.parametrize(
    ("left_out", "why"),
    [
        (("gpu4", "gpu5", "gpu6", "gpu7"), "asked nothing of gpu4, gpu5, gpu6, gpu7: "),
        (("gpu",), "asked nothing of gpu0, "),
    ],
)
def test_gpus_that_were_asked_nothing_are_not_stamped(node: Node, left_out: tuple[str, ...], why: str) -> None:
    events = events_of(NODE)
    for gpu in left_out:
        # The one check that asks the node as a whole stays.
        events = without_cells(events, f"[{gpu}")
        events = without_cells(events, f":{gpu}")
    events[1] = {**events[1], "used": [f"gpu{n}" for n in range(8) if f"gpu{n}" not in left_out]}
    run = write_node(node.folder / "runs", NODE, events)
    done = node.slurm("stamp", str(run))
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert not node.stamp.exists()


def test_a_later_run_that_is_rejected_withdraws_the_stamp(node: Node) -> None:
    node.stamped()
    node.redate(datetime.now(UTC) - timedelta(hours=1))
    failed = replace(NODE, failing=((3, "ecc"),), run="20261121T000000Z-gpu07-aa01")
    older = node.stamped(failed)
    assert (older.returncode, node.stamp.exists()) == (2, True), "it ended before the acceptance"
    other = replace(failed, name="gpu08", run="20261121T000000Z-gpu08-aa01")
    node.redate(datetime(2026, 11, 1, tzinfo=UTC))
    assert (node.stamped(other).returncode, node.stamp.exists()) == (2, True), "it is of another node"
    newer = node.stamped(replace(failed, run="20261121T000000Z-gpu07-aa02"))
    assert (newer.returncode, node.stamp.exists()) == (2, False)
    assert f"; the older stamp {node.stamp} is withdrawn" in newer.stderr
    assert node.slurm("check").stdout.startswith("NOT ACCEPTED: no acceptance is on record")


@pytest.mark.parametrize("text", ["[" * 500_000, '{"schema": 1}', "", "null"])
def test_a_file_that_is_no_stamp_is_one_message(node: Node, text: str) -> None:
    node.stamp.parent.mkdir()
    node.stamp.write_text(text)
    found = node.slurm("check")
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.startswith(f"UNKNOWN: {node.stamp} cannot be read: ")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "yesterday", "2026-11-20T12:00:00"])
def test_a_stamp_whose_time_is_none_is_one_message(node: Node, at: str) -> None:
    node.stamped()
    node.stamp.write_text(json.dumps({**json.loads(node.stamp.read_text()), "accepted_at": at}))
    found = node.slurm("check")
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.startswith(f"UNKNOWN: {node.stamp} cannot be read: ")


def test_a_check_with_wrong_options_is_one_message(node: Node) -> None:
    done = node.slurm("check", "--max-age=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --max-age: must be a number from 0.001 to 1e+06, not '0'" in done.stderr


def test_a_check_imports_nothing_that_a_prolog_would_wait_for() -> None:
    """Evidence, statistics and pages are not needed to read a stamp; a Prolog has seconds for all jobs of a cluster."""
    code = (
        "import sys; from plimsoll.cli import main; main(['slurm', 'check', '--stamp=/nonexistent']); "
        "print([name for name in sys.modules if name.split('.')[0] in ('pydantic', 'numpy', 'jinja2', 'torch')"
        " or name.startswith(('plimsoll.evidence', 'plimsoll.verdict', 'plimsoll.catalogue'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
