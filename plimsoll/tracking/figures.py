"""Turns the events of evidence into the figures that a tracker shows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.evidence.events import Event
from plimsoll.judge.judgement import Outcome


@dataclass(slots=True)
class _Answered:
    """What was answered so far to one dataset by one variant."""

    answers: int = 0
    right: int = 0
    loss: float = 0.0
    tokens: int = 0


class Figures:
    """Remembers what running figures need. One for each run."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str], _Answered] = defaultdict(_Answered)
        self._judged: dict[str, int] = {outcome.value: 0 for outcome in Outcome}

    def of(self, event: Event, fields: Mapping[str, Any]) -> dict[str, float]:
        """The figures that an event changes; none for most events.

        Measurements are named by their variant and metric, answers by dataset and variant, judgements are counted by
        outcome. What was not measured is left out: there is no figure for it.
        """
        if event is Event.MEASUREMENT:
            return _measured(fields)
        if event is Event.JUDGEMENT:
            self._judged[str(fields["outcome"])] += 1
            return {f"judgements/{outcome}": float(count) for outcome, count in self._judged.items()}
        if event is Event.ANSWER:
            return self._answer(fields)
        return {}

    def _answer(self, fields: Mapping[str, Any]) -> dict[str, float]:
        seen = self._answered[str(fields["dataset"]), str(fields["variant"])]
        log_probs = [float(value) for value in fields["log_probs"]]
        seen.answers += 1
        seen.right += fields["correct"] is True
        seen.loss -= math.fsum(log_probs)
        seen.tokens += len(log_probs)
        name = f"{fields['dataset']}/{fields['variant']}"
        running = {f"{name}/answers": float(seen.answers), f"{name}/accuracy": seen.right / seen.answers}
        return running | ({f"{name}/mean_nll": seen.loss / seen.tokens} if seen.tokens else {})


def _measured(fields: Mapping[str, Any]) -> dict[str, float]:
    value = fields.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return {}
    return {f"{_subject(str(fields['cell']))}/{fields['metric']}": float(value)}


def _subject(cell: str) -> str:
    """The parameter of a cell, which names its variant; the test's name where it has none."""
    test, bracket, parameter = cell.rpartition("::")[2].partition("[")
    return parameter.removesuffix("]") if bracket else test
