"""Reads `--fail-on`, and decides the exit status that follows.

A comparison that could not tell is not a comparison that found nothing: where times were to be checked and too few
samples were taken, or where nothing of the kind that was asked for is in both, the status is not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from plimsoll.compare.result import Comparison, Versus
from plimsoll.compare.rule import Change, Level
from plimsoll.errors import PlimsollError
from plimsoll.units import counted

EXIT_FOUND: Final = 1
EXIT_NOTHING_IN_COMMON: Final = 5
EXIT_UNDECIDED: Final = 6


class FailCondition(StrEnum):
    """What can make a comparison fail."""

    SLOWER = "slower"
    """A time is slower."""
    MEMORY = "memory"
    """A memory figure is more."""
    OUTCOME = "outcome"
    """A cell lost a good outcome, or the verdict is worse."""
    NUMERICS = "numerics"
    """Other bits are computed of the same model."""
    MISSING = "missing"
    """Something of the base is not in the other side, or can no longer be compared with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Something that `--fail-on` asked for and that was found."""

    condition: FailCondition
    text: str


def read_conditions(text: str) -> tuple[FailCondition, ...]:
    """The conditions of a list such as `slower,memory`. Raises PlimsollError for an unknown one, or for none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = [condition.value for condition in FailCondition]
    for name in names:
        if name not in known:
            raise PlimsollError(f"--fail-on knows no {name!r}; give one or more of {', '.join(known)}")
    if not names:
        raise PlimsollError(f"--fail-on needs a word to fail on; give one or more of {', '.join(known)}")
    return tuple(dict.fromkeys(FailCondition(name) for name in names))


def findings(comparison: Comparison, conditions: Sequence[FailCondition]) -> tuple[Breach, ...]:
    """What was found of what was asked for, one for each condition and side."""
    found = []
    for versus in comparison.versus:
        for condition in conditions:
            counts = [text for count, text in _counts(versus, condition) if count]
            if counts:
                found.append(Breach(condition=condition, text=f"{versus.other.name}: {', '.join(counts)}"))
    return tuple(found)


def _counts(versus: Versus, condition: FailCondition) -> list[tuple[int, str]]:
    """How often a condition is met, in each of its ways, with the words for it."""
    match condition:
        case FailCondition.SLOWER:
            slower = versus.words[Change.SLOWER]
            return [(slower, f"{counted(slower, 'time')} slower")]
        case FailCondition.MEMORY:
            more = versus.memory_levels[Level.MORE]
            return [(more, f"{counted(more, 'memory figure')} more")]
        case FailCondition.OUTCOME:
            worse = sum(change.is_worse for change in versus.outcomes)
            words = f"the verdict went from {versus.base.verdict} to {versus.other.verdict}"
            return [(worse, f"{counted(worse, 'check')} lost a good outcome"), (versus.verdict_is_worse, words)]
        case FailCondition.NUMERICS:
            changed = len(versus.numerics)
            return [(changed, f"{counted(changed, 'check')} computed other bits")]
        case FailCondition.MISSING:
            missing, mismatched = len(versus.missing), len(versus.mismatched)
            return [(missing, f"{missing} missing"), (mismatched, f"{mismatched} no longer comparable")]


def undecided(comparison: Comparison) -> int:
    """How many times got no word but "too few samples"."""
    return sum(versus.words[Change.TOO_FEW] for versus in comparison.versus)


def uncompared(
    comparison: Comparison, conditions: Sequence[FailCondition], *, allow_undecided: bool
) -> tuple[Breach, ...]:
    """The conditions that nothing could be held against, one for each condition and side, but for what
    `allow_undecided` excuses: anything but numerics, of which the same checks have the same digests."""
    return tuple(
        Breach(condition=condition, text=f"{versus.other.name} has no {lacking} in common with {versus.base.name}")
        for versus in comparison.versus
        for condition in conditions
        if (lacking := _lacking(versus, condition)) and (condition is FailCondition.NUMERICS or not allow_undecided)
    )


def _lacking(versus: Versus, condition: FailCondition) -> str:
    """What the two would need in common to tell whether a condition is met; empty where they have it."""
    match condition:
        case FailCondition.SLOWER:
            return "" if versus.times else "time"
        case FailCondition.MEMORY:
            return "" if any(row.level is not Level.UNKNOWN for row in versus.memory) else "memory figure"
        case FailCondition.OUTCOME:
            return "" if versus.shares_checks else "check"
        case FailCondition.NUMERICS:
            return "" if versus.shares_bits else "digest of logits"
        case FailCondition.MISSING:
            # Whatever one of them has and the other has not is found; where both have nothing, nothing is in common.
            return ""


def exit_status(comparison: Comparison, conditions: Sequence[FailCondition], *, allow_undecided: bool) -> int:
    """0, or why not: something asked for was found, nothing was in common, slower times could not be ruled out, or
    nothing of a kind that was asked for could be compared."""
    if findings(comparison, conditions):
        return EXIT_FOUND
    if any(versus.is_empty for versus in comparison.versus):
        return EXIT_NOTHING_IN_COMMON
    if FailCondition.SLOWER in conditions and undecided(comparison) and not allow_undecided:
        return EXIT_UNDECIDED
    if uncompared(comparison, conditions, allow_undecided=allow_undecided):
        return EXIT_UNDECIDED
    return 0
