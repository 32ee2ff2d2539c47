"""What Slurm is told of a node that is to take no more jobs: the reason, and the command as a text."""

from __future__ import annotations

import shlex
from typing import Final

from plimsoll.present.foreign_text import one_line

_LONGEST: Final = 200


def drain_reason(detail: str) -> str:
    """`[node_problem] plimsoll: ...`, which `sinfo -R` shows on one line; quotes, which break its tables, are gone."""
    text = one_line(f"[node_problem] plimsoll: {detail}", _LONGEST)
    return text.replace('"', "'").replace("\\", "/")


def drain_arguments(node: str, reason: str) -> list[str]:
    """The command that drains a node."""
    return ["scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}"]


def drain_command(node: str, reason: str) -> str:
    """The same as a shell takes it."""
    return shlex.join(drain_arguments(node, reason))
