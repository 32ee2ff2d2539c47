"""Manifests and patches for Kubernetes, held against the API's own JSON Schemas (tests/support/kubernetes)."""

from __future__ import annotations

import copy
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from plimsoll.engines.kubernetes import CONDITION
from tests.support.commands import plimsoll
from tests.support.fleet_runs import write_fleet_of
from tests.support.subsession import ROOT

SCHEMAS = json.loads((ROOT / "tests/support/kubernetes/schemas.json").read_text())
KINDS = {
    "Job": "io.k8s.api.batch.v1.Job",
    "PersistentVolumeClaim": "io.k8s.api.core.v1.PersistentVolumeClaim",
    "NodeCondition": "io.k8s.api.core.v1.NodeCondition",
}
OTHER_BITS = (
    "gpu0 computes other bits than most of its product: "
    "acceptance/test_agreement.py::test_repeats_to_the_bit[wide/bf16] (batch 1, whole), 2 of 2 ways; "
)
ASKED = ("--image=registry.example/plimsoll:0.1", "--nodes=16", "-m", "gpu70b and not soak")


def validate(kind: str, data: Any) -> None:
    jsonschema.Draft202012Validator({**SCHEMAS, "$ref": f"#/$defs/{KINDS[kind]}"}).validate(data)


def manifests(*options: str) -> list[dict[str, Any]]:
    done = plimsoll("kubernetes", "manifest", *ASKED, *options)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_the_manifests_are_what_the_api_takes() -> None:
    found = manifests("--node-selector=nvidia.com/gpu.product=H100", "--gpus=4", "--name=rack-7", "--hours=2.5")
    assert [one["kind"] for one in found] == ["PersistentVolumeClaim", "Job", "Job"]
    for one in found:
        validate(one["kind"], one)


def test_the_schema_refuses_what_the_api_would() -> None:
    """Without this the test above might hold for anything."""
    _, job, _ = manifests()
    for path, value in ((("spec", "backofLimit"), 0), (("spec", "template", "spec", "restartPolicie"), "Never")):
        spoiled = copy.deepcopy(job)
        inner = spoiled
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            validate("Job", spoiled)


def test_each_node_has_a_pod_and_one_that_fails_ends_no_other() -> None:
    _, job, verdict = manifests()
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 16, 16)
    assert (spec["backoffLimitPerIndex"], "backoffLimit" in spec) == (0, False)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    [apart] = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    [container] = pod["containers"]
    assert container["args"] == ["-m", "gpu70b and not soak"]
    assert {one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"] for one in container["env"]} == {
        "PLIMSOLL_NODE": "spec.nodeName",
        "PLIMSOLL_JOB": "metadata.labels['batch.kubernetes.io/controller-uid']",
    }
    assert {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"} in pod[
        "tolerations"
    ]
    assert "--expect-nodes 16" in verdict["spec"]["template"]["spec"]["containers"][0]["command"][2]
    assert verdict["spec"]["suspend"] is True


def test_what_is_given_stays_a_text(tmp_path: Path) -> None:
    done = plimsoll("kubernetes", "manifest", "--image=a/b", "--nodes=1", "-m", "tiny", "-k", 'x"\n---\nkind: Evil')
    found = list(yaml.safe_load_all(done.stdout))
    assert len(found) == 3
    assert found[1]["spec"]["template"]["spec"]["containers"][0]["args"][-1] == 'x"\n---\nkind: Evil'


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--image=a", "--nodes=1"], "say what the nodes must carry"),
        (["--image=a b", "--nodes=1", "-m", "x"], "--image 'a b': it is no name of an image"),
        (["--image=a", "--nodes=1", "--name=A", "-m", "x"], "--name 'A': small letters, digits and hyphens make"),
        (["--image=a", "--nodes=1", "--node-selector=a b=c", "-m", "x"], "--node-selector a b=c: it is no label"),
        (
            ["--image=a", "--nodes=1", "--node-selector=a=b", "--node-selector=a=c", "-m", "x"],
            "--node-selector: a is asked to be b and c, and a node has one value of each label: give it once",
        ),
        (["--image=a", "--nodes=0", "-m", "x"], "argument --nodes: must be a whole number from 1 to 1,000,000,000"),
    ],
)
def test_what_the_api_would_refuse_is_one_message(options: list[str], says: str) -> None:
    done = plimsoll("kubernetes", "manifest", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_nodes_are_told_their_verdict_by_commands_that_nothing_runs(tmp_path: Path) -> None:
    write_fleet_of(tmp_path / "nodes", 3, node02=lambda made: replace(made, failing=((3, "ecc"),)))
    (tmp_path / "expected").write_text("node[01-04]\n")
    plimsoll("fleet", tmp_path / "nodes", f"--expect-nodes={tmp_path}/expected", f"--output={tmp_path}/fleet.json")
    done = plimsoll("kubernetes", "patches", tmp_path / "fleet.json")
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert [line[4:] for line in lines[::2]] == [
        ["node01", "plimsoll/verdict=accepted"],
        ["node02", "plimsoll/verdict=rejected"],
        ["node03", "plimsoll/verdict=accepted"],
        ["node04", "plimsoll/verdict=incomplete"],
    ]
    conditions = [json.loads(line[-1].removeprefix("--patch="))["status"]["conditions"][0] for line in lines[1::2]]
    for each in conditions:
        validate("NodeCondition", each)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each["lastTransitionTime"])
    assert [each["status"] for each in conditions] == ["False", "True", "False", "True"]
    # A condition is as old as the run that it tells of.
    assert [each["lastHeartbeatTime"] for each in conditions[:3]] == ["2026-11-20T13:09:01Z"] * 3
    assert conditions[3]["lastHeartbeatTime"] == conditions[3]["lastTransitionTime"]
    assert {each["type"] for each in conditions} == {CONDITION}


def test_a_node_that_only_the_others_find_at_fault_is_not_told_that_it_is_accepted(tmp_path: Path) -> None:
    wrong = {"node02": lambda made: replace(made, bits=dict.fromkeys(range(8), "aa"))}
    write_fleet_of(tmp_path / "nodes", 4, node03=lambda made: replace(made, gpus=7), **wrong)
    plimsoll("fleet", tmp_path / "nodes", f"--output={tmp_path}/fleet.json")
    lines = [
        shlex.split(line) for line in plimsoll("kubernetes", "patches", tmp_path / "fleet.json").stdout.splitlines()
    ]
    words = ["accepted", "rejected", "incomplete", "accepted"]
    assert [line[-1] for line in lines[::2]] == [f"plimsoll/verdict={word}" for word in words]
    patch = json.loads(lines[3][-1].removeprefix("--patch="))["status"]["conditions"][0]
    assert patch["status"] == "True"
    assert patch["message"].startswith(f"REJECTED in the fleet: {OTHER_BITS}")
    patch = json.loads(lines[5][-1].removeprefix("--patch="))["status"]["conditions"][0]
    assert patch["message"].startswith("INCOMPLETE in the fleet: node03 has 7 GPUs, and most nodes of its kind have 8")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "is no fleet.json of this version"),
        ("x", "it is not JSON"),
        ('{"schema": "plimsoll/fleet/1", "nodes": [{"name": "a"}]}', "lacks what a fleet.json has"),
    ],
)
def test_what_is_no_fleet_is_one_message(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "fleet.json").write_text(text)
    done = plimsoll("kubernetes", "patches", tmp_path / "fleet.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_containers_pin_what_they_are_made_of() -> None:
    for name, start in (("Dockerfile", r"^FROM (\S+)"), ("plimsoll.def", r"^From: (\S+)")):
        text = (ROOT / "docs" / "examples" / name).read_text()
        [base] = re.findall(start, text, re.MULTILINE)
        assert re.search(r":\d+\.\d+\.\d+", base), f"{name} takes whatever {base} is today"
        assert "--constraint constraints.txt" in text
