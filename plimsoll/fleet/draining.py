"""What Slurm is told of a node that is to take no more jobs: the reason, and the command as a text."""

from __future__ import annotations

import shlex
from typing import Final

from plimsoll.present.foreign_text import one_line

SEVERAL: Final = "Slurm takes that for several nodes; give one node's own name (PLIMSOLL_NODE, --node)"
_LONGEST: Final = 200
_LIST: Final = frozenset("[]{},")


def drain_reason(detail: str) -> str:
    """`[node_problem] plimsoll: ...`, which `sinfo -R` shows on one line; quotes, which break its tables, are gone."""
    text = one_line(f"[node_problem] plimsoll: {detail}", _LONGEST)
    return text.replace('"', "'").replace("\\", "/")


def drain_arguments(node: str, reason: str) -> list[str]:
    """The command that drains a node."""
    return ["scontrol", "update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}"]


def drain_command(node: str, reason: str) -> str:
    """The same as a shell takes it; a comment where Slurm would take the name for several nodes."""
    if names_several(node):
        return f"# no command for {one_line(node, _LONGEST)}: {SEVERAL}"
    return shlex.join(drain_arguments(node, reason))


def names_several(node: str) -> bool:
    """True for a name that Slurm takes for a list of nodes, or for all of them, as where PLIMSOLL_NODE is set to the
    nodes of a job: one sick GPU would take them all out of service."""
    return node.casefold() == "all" or not _LIST.isdisjoint(node)
