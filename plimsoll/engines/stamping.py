"""Makes the stamp of an accepted run, on the node that it was made on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from plimsoll.engines.stamp import SCHEMA, PresentNode, Stamp, difference
from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import read_run
from plimsoll.present.foreign_text import one_line
from plimsoll.report.write import write_atomically
from plimsoll.verdict.verdict import Word, reach_verdict


def stamp_of(run: Path, node: PresentNode) -> Stamp:
    """The stamp that a run deserves. Raises PlimsollError unless it is accepted and of this very node."""
    record = read_run(run)
    verdict = reach_verdict(record)
    if verdict.word is not Word.ACCEPTED:
        raise PlimsollError(f"{run} is not accepted, and no stamp is made of it: {verdict.statement}")
    if record.node is None or record.finish is None:
        raise PlimsollError(f"{run} does not say which node it was made on, or when it ended")
    if node.problem is not None:
        raise PlimsollError(f"whether this is the node of {run} cannot be told: {node.problem}")
    probed = tuple(sorted(gpu.uuid for gpu in record.node.gpus if gpu.uuid is not None))
    if len(probed) != len(record.node.gpus):
        raise PlimsollError(f"{run} does not have the UUIDs of all GPUs: no stamp can say which were accepted")
    stamp = Stamp(
        node=node.name,
        driver=record.node.driver,
        uuids=probed,
        run=record.run_id,
        statement=one_line(verdict.statement),
        accepted_at=record.finish.at,
        sha256=tuple(file.sha256 for file in record.files),
    )
    recorded = record.node.environment.get("PLIMSOLL_NODE") or record.node.hostname
    if not probed and recorded != node.name:
        raise PlimsollError(f"{run} was made on {recorded}, and this is {node.name}")
    if (found := difference(stamp, node)) is not None:
        raise PlimsollError(f"{run} is not of this node as it is now: {found}")
    return stamp


def write_stamp(path: Path, stamp: Stamp) -> None:
    """Write it in one step. Raises PlimsollError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"schema": SCHEMA, **asdict(stamp)}, indent=1) + "\n")
    except OSError as error:
        raise PlimsollError(
            f"the stamp {path} could not be written ({error.strerror or error}); use --stamp FILE for another place"
        ) from None
