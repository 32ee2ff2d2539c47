"""Writes what Kubernetes is given: the Jobs that accept nodes, and what to tell a node of its verdict."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.present.foreign_text import one_line
from plimsoll.verdict.verdict import Word

LABEL: Final = "plimsoll/verdict"
CONDITION: Final = "PlimsollNotAccepted"
"""A condition of a node is True where something is wrong with it, as node-problem-detector has it."""
TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
"""How Kubernetes writes times."""

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")
_NODE_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")
_IMAGE: Final = re.compile(r"[\w./:@-]{1,500}")
_LABEL_KEY: Final = re.compile(r"([\w.-]{1,253}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?")
_LONGEST_MESSAGE: Final = 800

_ACCEPT: Final = """\
# What a node left in an earlier Job must not stand for one that leaves nothing in this.
reports="/evidence/${PLIMSOLL_JOB:?}/nodes/${PLIMSOLL_NODE:?}"
# Before its deadline a pod is sent SIGTERM: Ctrl-C for the run, which then ends with what it has. Without job control
# bash has what runs in the background ignore that.
set -m
trap 'kill -INT "$run" 2>/dev/null' TERM
python3 -m pytest "--report-dir=$reports" "$@" & run=$!
# A signal ends `wait`, and not what it waits for. Of what has ended bash keeps the status.
while kill -0 "$run" 2>/dev/null; do wait "$run"; done
wait "$run"; status=$?
plimsoll report latest "--report-dir=$reports" --no-pages | tail -n 20 | tail -c 4000 > /dev/termination-log
exit "$status"
"""
_JUDGE: Final = """\
told() { echo "INCOMPLETE: $1" | tee /dev/termination-log; exit 6; }
set -- /evidence/*/nodes
[ -d "$1" ] || told "no run began"
[ "$#" -eq 1 ] || told "the claim has runs of several Jobs, $*: give each acceptance a claim of its own"
job="${1%/nodes}"
if [ -e "$job/judged" ] && [ -z "$(find "$1" -newer "$job/judged" -print -quit)" ]; then
  told "nothing was written since $1 was judged; that verdict lies in $job/fleet"
fi
touch "$job/judging"
plimsoll fleet "$1" --expect-nodes @NODES@ --output "$job/fleet" > /tmp/said; status=$?
# 2: no verdict was reached.
[ "$status" -eq 2 ] || mv "$job/judging" "$job/judged"
cat /tmp/said; tail -n 1 /tmp/said | tail -c 4000 > /dev/termination-log
exit "$status"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesJob:
    """What the manifests ask for."""

    image: str
    selection: tuple[str, ...]
    nodes: int
    gpus: int = 8
    name: str = "plimsoll"
    claim: str = "plimsoll-evidence"
    seconds: int = 8 * 3600
    """After which the pods are ended."""
    selector: Mapping[str, str] | None = None
    """Labels of the nodes that are to be accepted."""


def manifest_text(job: KubernetesJob) -> str:
    """The manifests as YAML. Raises PlimsollError for what the API would refuse."""
    _refuse(job)
    template = resources.files("plimsoll.engines").joinpath("templates", "kubernetes.yaml").read_text("utf-8")
    # JSON is YAML: what comes from outside is quoted as JSON, and can be nothing else than a text.
    values = {
        "NAME": job.name,
        "NAME_QUOTED": json.dumps(job.name),
        "VERDICT_QUOTED": json.dumps(f"{job.name}-verdict"),
        "CLAIM_QUOTED": json.dumps(job.claim),
        "IMAGE": json.dumps(job.image),
        "NODES": str(job.nodes),
        "GPUS": str(job.gpus),
        "SECONDS": str(job.seconds),
        "SELECTOR": json.dumps(dict(job.selector or {})),
        "SELECTION": json.dumps(list(job.selection)),
        "ACCEPT": json.dumps(scripts(job).accept),
        "JUDGE": json.dumps(scripts(job).judge),
    }
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """What bash runs in the pods."""

    accept: str
    judge: str


def scripts(job: KubernetesJob) -> Scripts:
    """What the pods of these Jobs run: that of a node, and that of the verdict."""
    return Scripts(accept=_ACCEPT, judge=_JUDGE.replace("@NODES@", str(job.nodes)))


def _refuse(job: KubernetesJob) -> None:
    if not job.selection:
        raise PlimsollError("say what the nodes must carry: plimsoll kubernetes manifest ... -m gpu70b")
    for option, name in (("--name", job.name), ("--claim", job.claim)):
        if _NAME.fullmatch(name) is None:
            raise PlimsollError(f"{option} {name!r}: small letters, digits and hyphens make a name in Kubernetes")
    if _IMAGE.fullmatch(job.image) is None:
        raise PlimsollError(f"--image {one_line(job.image, 80)!r}: it is no name of an image")
    for key, value in (job.selector or {}).items():
        if _LABEL_KEY.fullmatch(key) is None or _LABEL_VALUE.fullmatch(value) is None:
            raise PlimsollError(f"--node-selector {key}={value}: it is no label of Kubernetes")


def patches(fleet: Mapping[str, Any], at: str) -> Iterator[str]:
    """The commands that tell each node its verdict, as a label and a condition; `fleet` is the data of fleet.json, `at`
    the time in ISO format with a Z. Raises PlimsollError where it is none."""
    for node in fleet["nodes"]:
        word = str(node.get("in_fleet", node["verdict"]))
        # Where the others know better, what the node says of itself is not why.
        why = "; ".join(map(str, node["in_fleet_why"])) if "in_fleet_why" in node else "held against the others"
        said = str(node["statement"]) if word == node["verdict"] else f"{word} in the fleet: {why}"
        # The condition of a node that was heard of last month must not look like one of today.
        yield from _patch(str(node["name"]), word, said, at, _ended(node) or at)
    for name in fleet["expected"]["missing"] if fleet["expected"]["names"] else ():
        yield from _patch(str(name), Word.INCOMPLETE.value, "no evidence", at, at)


def _ended(node: Mapping[str, Any]) -> str | None:
    ends = [run["ended"] for run in node["runs"] if run["ended"] is not None]
    try:
        return max(datetime.fromisoformat(end).astimezone(UTC) for end in ends).strftime(TIME) if ends else None
    except (ValueError, TypeError, OverflowError):
        return None


def read_fleet_file(path: Path) -> dict[str, Any]:
    """The data of a fleet.json. Raises PlimsollError where it is none."""
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        why = reason_of(error) if isinstance(error, OSError) else "it is not JSON"
        raise PlimsollError(
            f"{path} cannot be read ({why}); give the fleet.json of `plimsoll fleet --output`"
        ) from None
    if not isinstance(data, dict) or data.get("schema") != "plimsoll/fleet/1":
        raise PlimsollError(f"{path} is no fleet.json of this version; give that of `plimsoll fleet --output`")
    return data


def condition(verdict: str, statement: str, at: str, heard: str) -> dict[str, Any]:
    """The condition of a node: True where it is not accepted. `heard` is when its run ended."""
    return {
        "type": CONDITION,
        "status": "False" if verdict == Word.ACCEPTED.value else "True",
        "reason": f"Plimsoll{verdict.capitalize()}",
        "message": one_line(statement, _LONGEST_MESSAGE),
        "lastHeartbeatTime": heard,
        "lastTransitionTime": at,
    }


def _patch(node: str, verdict: str, statement: str, at: str, heard: str) -> Iterator[str]:
    if _NODE_NAME.fullmatch(node) is None:
        raise PlimsollError(f"{one_line(node, 80)!r} is no name of a node in Kubernetes; was PLIMSOLL_NODE set?")
    patch = json.dumps({"status": {"conditions": [condition(verdict, statement, at, heard)]}})
    yield shlex.join(["kubectl", "label", "--overwrite", "node", node, f"{LABEL}={verdict.lower()}"])
    yield shlex.join(["kubectl", "patch", "node", node, "--subresource=status", "--type=strategic", f"--patch={patch}"])
