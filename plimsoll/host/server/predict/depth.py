"""Derives a training step of a deep model from those of two shallow ones.

What is in use at an operation grows by the same bytes with every layer of one kind that was run before it, or that is
still to be run back through; so a step with some layers and one with one more tell of any number. Of a stack that is
not all of one kind the whole depth is run.

The highest moment among many alike layers is in the first or the last of them, since bytes change from each to the next
by one and the same amount. So a step's operations are counted from its beginning, which tells of the first layers, and
from its end, which tells of the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plimsoll.host.server.predict.passes import NotFollowedError


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A forward and a backward pass."""

    heights: tuple[int, ...]
    """Bytes in use at the highest point of each operation."""
    again: tuple[int, ...]
    """The same where all gradients were there before: of a later part of a batch."""
    operations: tuple[str, ...]
    forward: int
    """How many of them belong to the forward pass."""
    kept: int
    """Bytes in use between the passes."""
    entered: tuple[int, ...]
    """For each layer, the operations before it in the forward pass."""
    returned: tuple[int, ...]
    """For each layer, the operations before the backward pass comes to it."""


@dataclass(frozen=True, slots=True)
class SharedSpan:
    """Operations of a step that a step with one layer more has as well: from `start` to `stop`, and `shift` later."""

    start: int
    stop: int
    shift: int


def shared_spans(less: TracedStep, more: TracedStep) -> tuple[SharedSpan, ...]:
    """What the two steps share, the one with a layer more than the other. Raises NotFollowedError where they are no
    such steps.

    From the end of the forward pass they are alike as far as the second layer: the first takes other operations where
    nothing before it is trained. It is told from the beginning.
    """
    if len(more.entered) != len(less.entered) + 1 or len(less.returned) != len(less.entered) or not less.entered:
        raise NotFollowedError("its layers cannot be told apart in a step")
    turn, end, longer = less.forward, len(less.operations), len(more.operations)
    shared = (
        SharedSpan(0, less.entered[-1], 0),
        SharedSpan(less.entered[:2][-1], turn, more.forward - turn),
        SharedSpan(turn, less.returned[0], more.forward - turn),
        SharedSpan(less.returned[-1], end, longer - end),
    )
    for part in shared:
        if less.operations[part.start : part.stop] != more.operations[part.start + part.shift : part.stop + part.shift]:
            raise NotFollowedError("its layers take other operations for another depth")
    return shared


def deepened(less: Sequence[int], more: Sequence[int], shared: Sequence[SharedSpan], missing: int) -> list[int]:
    """The bytes at the operations of a step that has `missing` layers more than `less`, span after span."""
    return [
        less[number] + missing * (more[number + part.shift] - less[number])
        for part in shared
        for number in range(part.start, part.stop)
    ]
