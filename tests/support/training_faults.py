"""Faults of training, planted in a host: whatever is trained after `plant` carries one. Imports no pytest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import torch

from plimsoll.host.server.training import learner, measured
from plimsoll.host.server.training.steps import Step


def plant(name: str) -> None:
    """Do one of FAULTS."""
    FAULTS[name]()


def _no_update() -> None:
    Step._update = lambda self: None  # type: ignore[method-assign]


def _nothing_is_frozen() -> None:
    learner._still = lambda model: None


def _frozen_weights_move() -> None:
    sound = Step._update

    def update(self: Step) -> None:
        sound(self)
        with torch.no_grad():
            frozen = next(p for p in self.learner.parameters if not p.requires_grad)
            frozen.view(-1)[0] += 1

    Step._update = update  # type: ignore[method-assign]


def _gradients_are_no_numbers() -> None:
    sound = Step._update

    def update(self: Step) -> None:
        sound(self)
        gradient = self.learner.trained[0].grad
        assert gradient is not None
        gradient.view(-1)[0] = math.nan

    Step._update = update  # type: ignore[method-assign]


def _nothing_is_counted() -> None:
    meter: Any = measured._CpuMeter
    sound = meter.measure
    meter.measure = lambda self, work: [replace(one, before=0, after=0, peak=0) for one in sound(self, work)]


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "no update": _no_update,
    "nothing is frozen": _nothing_is_frozen,
    "frozen weights move": _frozen_weights_move,
    "gradients are no numbers": _gradients_are_no_numbers,
    "nothing is counted": _nothing_is_counted,
}
