"""Makes the stamp of an accepted run, on the node that it was made on."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from plimsoll.engines.stamp import SCHEMA, UNREADABLE, PresentNode, Stamp, difference, read_stamp
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.record import RunRecord
from plimsoll.fleet.summary import NODE_VARIABLE
from plimsoll.node.node import Node
from plimsoll.present.foreign_text import one_line
from plimsoll.report.write import write_atomically
from plimsoll.verdict.verdict import Word, reach_verdict


class RejectedError(PlimsollError):
    """The run that a stamp was asked for is rejected."""

    def __init__(self, message: str, record: RunRecord) -> None:
        super().__init__(message)
        self.record = record


def stamp_of(run: Path, node: PresentNode) -> Stamp:
    """The stamp that a run deserves. Raises PlimsollError unless it is accepted and of this very node."""
    record = read_run(run)
    verdict = reach_verdict(record)
    if verdict.word is not Word.ACCEPTED:
        said = f"{run} is not accepted, and no stamp is made of it: {verdict.statement}"
        raise RejectedError(said, record) if verdict.word is Word.REJECTED else PlimsollError(said)
    if record.node is None or record.finish is None:
        raise PlimsollError(f"{run} does not say which node it was made on, or when it ended")
    if node.problem is not None:
        raise PlimsollError(f"whether this is the node of {run} cannot be told: {node.problem}")
    probed = _uuids(record.node)
    if len(probed) != len(record.node.gpus):
        raise PlimsollError(f"{run} does not have the UUIDs of all GPUs: no stamp can say which were accepted")
    asked = {gpu.partition(".")[0] for cell in record.plan for gpu in cell.gpus}
    if unasked := [f"gpu{gpu.index}" for gpu in record.node.gpus if f"gpu{gpu.index}" not in asked]:
        raise PlimsollError(
            f"{run} asked nothing of {', '.join(unasked)}: no stamp can say that it was accepted; select checks that "
            "need a GPU, and leave none out by --gpus"
        )
    stamp = Stamp(
        node=node.name,
        driver=record.node.driver,
        uuids=probed,
        run=record.run_id,
        statement=one_line(verdict.statement),
        accepted_at=record.finish.at,
        sha256=tuple(file.sha256 for file in record.files),
    )
    recorded = _name(record.node)
    if not probed and recorded != node.name:
        raise PlimsollError(f"{run} was made on {recorded}, and this is {node.name}")
    if (found := difference(stamp, node)) is not None:
        raise PlimsollError(f"{run} is not of this node as it is now: {found}")
    return stamp


def withdraw(path: Path, rejected: RejectedError) -> bool:
    """Remove the stamp where it is of the node of the rejected run, and older than that: what was accepted before says
    nothing any more. Whether it was there. Raises PlimsollError where it cannot be removed."""
    record = rejected.record
    at = record.finish.at if record.finish is not None else None if record.run is None else record.run.started
    try:
        stamp = read_stamp(path)
        is_newer = at is not None and datetime.fromisoformat(at) > stamp.at
    except (OSError, *UNREADABLE):
        return False
    if record.node is None or not is_newer:
        return False
    uuids = _uuids(record.node)
    if set(uuids).isdisjoint(stamp.uuids) and (uuids or stamp.uuids or _name(record.node) != stamp.node):
        return False
    try:
        path.unlink()
    except OSError as error:
        raise PlimsollError(f"{rejected}; and the stamp {path} could not be removed ({reason_of(error)})") from None
    return True


def _uuids(node: Node) -> tuple[str, ...]:
    return tuple(sorted(gpu.uuid for gpu in node.gpus if gpu.uuid is not None))


def _name(node: Node) -> str:
    return node.environment.get(NODE_VARIABLE) or node.hostname


def write_stamp(path: Path, stamp: Stamp) -> None:
    """Write it in one step. Raises PlimsollError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"schema": SCHEMA, **asdict(stamp)}, indent=1) + "\n")
    except OSError as error:
        raise PlimsollError(
            f"the stamp {path} could not be written ({reason_of(error)}); use --stamp FILE for another place"
        ) from None
