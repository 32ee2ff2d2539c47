"""What Slurm is told of a node that is to take no more jobs: the reason, and the command as a text."""

from __future__ import annotations

import shlex
from typing import Final

from plimsoll.fleet.summary import NodeSummary
from plimsoll.present.foreign_text import one_line
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Word

_LONGEST: Final = 200


def drain_reason(detail: str) -> str:
    """`[node_problem] plimsoll: ...`, which `sinfo -R` shows on one line; quotes, which break its tables, are gone."""
    text = one_line(f"[node_problem] plimsoll: {detail}", _LONGEST)
    return text.replace('"', "'").replace("\\", "/")


def drain_command(node: str, reason: str) -> str:
    """The command that drains a node, as a shell takes it."""
    return shlex.join(["scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}"])


def reason_of(node: NodeSummary) -> str:
    """Why a node is to be drained: its verdict, and the first check that failed."""
    failed = next((each for each in node.reasons if each.outcome is CellOutcome.FAIL), None)
    if failed is not None:
        name = failed.check.partition("::")[2] or failed.check
        return drain_reason(f"{node.word}, {name}: {failed.reason.partition(chr(10))[0]}")
    first = node.faults[0] if node.faults else (node.reasons[0].reason if node.reasons else "no reason is known")
    return drain_reason(f"{node.word}, {first}" if node.word is not Word.ACCEPTED else "ACCEPTED")
