"""Words the differences between the parameter names of a model and of its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_SHOWN: Final = 8


def names_apart(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """The differences between the names of a model and those of its checkpoint; empty where they agree.

    `missing` are names that only the model has, `unexpected` those that only the checkpoint has. Where the unexpected
    names are the missing ones with a prefix, as for a model saved from within a wrapper, the prefix is named.
    """
    if not missing and not unexpected:
        return ""
    lines = []
    if missing:
        lines.append(f"not in the checkpoint, so randomly initialised: {_some(missing)}")
    if unexpected:
        lines.append(f"in the checkpoint, but nowhere in the model: {_some(unexpected)}")
    prefix = _prefix(missing, unexpected)
    if prefix:
        lines.append(
            f"these are the same names behind the prefix {prefix!r}: the model was saved from within a wrapper; "
            "save it again without, or rename the tensors"
        )
    return "\n".join(lines)


def _prefix(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """The prefix that turns missing names into unexpected ones; empty where there is none."""
    wanted = set(missing)
    for name in unexpected:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            prefix = ".".join(parts[:cut]) + "."
            if name.removeprefix(prefix) in wanted and all(other.startswith(prefix) for other in unexpected):
                return prefix
    return ""


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
