"""A fleet for programs: fleet.json, and a line of JSON for each node, as collectors of logs take it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from plimsoll.evidence.encoding import encode
from plimsoll.fleet.differences import Difference, Group
from plimsoll.fleet.fleet import Fleet
from plimsoll.fleet.numerics import BitsApart
from plimsoll.fleet.outliers import Outlier
from plimsoll.fleet.stragglers import Straggler
from plimsoll.fleet.summary import NodeSummary
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Word

SCHEMA: Final = "plimsoll/fleet/1"
"""The value of `schema` in fleet.json; a change that breaks a reader raises the number."""
NODE_SCHEMA: Final = "plimsoll/fleet-node/1"


def fleet_text(fleet: Fleet) -> str:
    """fleet.json as text."""
    return json.dumps(encode(fleet_data(fleet)), indent=1, allow_nan=False) + "\n"


def fleet_data(fleet: Fleet) -> dict[str, Any]:
    """Everything that a fleet came to, as JSON data; `plimsoll schema fleet` describes it."""
    oddities = fleet.oddities()
    return {
        "schema": SCHEMA,
        "verdict": fleet.word.value,
        "statement": fleet.statement,
        "exit_status": fleet.exit_status,
        "expected": {
            "names": list(fleet.expected.names),
            "count": fleet.expected.total,
            "missing": list(fleet.missing),
        },
        "faults": list(fleet.faults),
        "notes": list(fleet.notes),
        "fail_on": [condition.value for condition in fleet.fail_on],
        "breaches": [condition.value for condition in fleet.breaches],
        "nodes": [_node(fleet, node, oddities.get(node.name, [])) for node in fleet.nodes],
        "differences": [_difference(each) for each in fleet.differences],
        "outliers": [_outlier(each) for each in fleet.outliers.outliers],
        "looks": fleet.outliers.looks,
        "too_few": list(fleet.outliers.too_few),
        "bits_apart": [_apart(each) for each in fleet.numerics.apart],
        "bits_devices": fleet.numerics.devices,
        "stragglers": [_straggler(each) for each in fleet.stragglers],
    }


def node_lines(fleet: Fleet) -> Iterator[str]:
    """One line of JSON for each node, and for each that is expected by name and left nothing."""
    oddities = fleet.oddities()
    for node in fleet.nodes:
        data = {"schema": NODE_SCHEMA, **_node(fleet, node, oddities.get(node.name, []))}
        yield json.dumps(encode(data), allow_nan=False, separators=(",", ":"))
    for name in fleet.missing if fleet.expected.names else ():
        word = Word.INCOMPLETE.value
        lost = {"schema": NODE_SCHEMA, "name": name, "verdict": word, "in_fleet": word, "statement": "no evidence"}
        yield json.dumps(lost, separators=(",", ":"))


def _node(fleet: Fleet, node: NodeSummary, oddities: list[str]) -> dict[str, Any]:
    return {
        "name": node.name,
        "verdict": node.word.value,
        "in_fleet": fleet.word_of(node).value,
        "in_fleet_why": fleet.why(node),
        "statement": node.statement,
        "scope": node.scope,
        "planned": node.planned,
        "counts": {o.value: sum(one.outcome is o for one in node.asked) for o in CellOutcome},
        "not_passed": [
            {"check": one.check, "gpu": one.gpu or None, "outcome": one.outcome.value}
            for one in node.asked
            if one.outcome is not CellOutcome.PASS
        ],
        "reasons": [
            {
                "check": each.check,
                "count": each.count,
                "outcome": each.outcome.value,
                "reason": each.reason,
                "fix": each.fix,
            }
            for each in node.reasons
        ],
        "faults": list(node.faults),
        "odd": oddities,
        "gpus": [
            {"id": gpu.id, "uuid": gpu.uuid, "serial": gpu.serial, "product": gpu.product, "facts": dict(gpu.facts)}
            for gpu in node.gpus
        ],
        "seconds": node.seconds,
        "runs": [
            {"id": run.run_id, "started": run.started, "ended": run.ended, "sha256": list(run.sha256)}
            for run in node.runs
        ],
        "drain": fleet.drain(node),
    }


def _difference(difference: Difference) -> dict[str, Any]:
    majority = difference.majority
    return {
        "what": difference.what,
        "product": difference.product,
        "majority": None if majority is None else majority.value,
        "groups": [_group(group) for group in difference.groups],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "value": group.value,
        "count": group.count,
        "holders": [{"node": holder.node, "gpus": list(holder.gpus)} for holder in group.holders],
    }


def _outlier(one: Outlier) -> dict[str, Any]:
    return {
        "look": one.look.value,
        "product": one.product,
        "node": one.node,
        "gpu": one.gpu,
        "behind": one.behind,
        "z": one.z,
        "chance": one.chance,
        "check": one.check,
        "metric": one.metric,
        "unit": one.unit,
        "value": one.value,
        "median": one.middle,
        "figures": one.figures,
    }


def _apart(one: BitsApart) -> dict[str, Any]:
    return {
        "node": one.node,
        "gpu": one.gpu or None,
        "product": one.product,
        "ways": one.ways,
        "of": one.of,
        "check": one.check,
        "way": one.way,
        "devices": one.devices,
        "agreeing": one.agreeing,
        "is_told": one.is_told,
    }


def _straggler(one: Straggler) -> dict[str, Any]:
    return {
        "node": one.node,
        "seconds": one.seconds,
        "median": one.middle,
        "check": one.check,
        "check_seconds": one.check_seconds,
        "check_median": one.check_middle,
    }
