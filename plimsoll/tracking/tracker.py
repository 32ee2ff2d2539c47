"""Sends what a run measures to trackers while it runs; `--track=jsonl` writes a file for `tail -f`.

A tracker shows and does not decide. Its failure is reported once and changes nothing else: `Guarded` ensures that.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from plimsoll import clock
from plimsoll.evidence.encoding import encode
from plimsoll.evidence.events import Event
from plimsoll.judge.judgement import Outcome

Numbers = Mapping[str, float]


class Tracker(Protocol):
    """Follows one run; called in this order: `start` once, `log` often, `finish` once."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    def start(self, run_id: str, config: Mapping[str, Any]) -> None:
        """A run begins; `config` is plain data that says what it is."""

    def log(self, numbers: Numbers) -> None:
        """The current figures by name, in base units."""

    def finish(self) -> None:
        """The run is over."""


class Guarded:
    """Passes everything on to a tracker until it fails; then says so once, and stops using it."""

    def __init__(self, tracker: Tracker, warn: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._warn = warn
        self._failed = False

    def start(self, run_id: str, config: Mapping[str, Any]) -> None:
        """See Tracker."""
        self._try(lambda: self._tracker.start(run_id, config))

    def log(self, numbers: Callable[[], Numbers]) -> None:
        """Log the figures that the function returns, if any; its errors are handled like the tracker's."""

        def told() -> None:
            if found := numbers():
                self._tracker.log(found)

        self._try(told)

    def finish(self) -> None:
        """See Tracker."""
        self._try(self._tracker.finish)

    def _try(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever a library of others raises must not end a run
            self._failed = True
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            self._warn(f"tracking by {self._tracker.name} stopped ({said}); nothing else is changed by that")


class JsonLinesTracker:
    """Writes `{"at", "run", "config"}`, then `{"at", NAME: value, ...}` for each change, then `{"at", "finished"}`."""

    name = "jsonl"

    def __init__(self, path: Path, redact: Callable[[str], str]) -> None:
        self._path = path
        self._redact = redact

    def start(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Begin the file anew. Raises OSError where it cannot be written."""
        self._path.write_text("", encoding="utf-8")
        self._write({"run": run_id, "config": config})

    def log(self, numbers: Numbers) -> None:
        """Append one line."""
        self._write(numbers)

    def finish(self) -> None:
        """Append the last line."""
        self._write({"finished": True})

    def _write(self, data: Mapping[str, Any]) -> None:
        line = json.dumps(encode({"at": clock.now().isoformat(timespec="seconds"), **data}, self._redact))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


@dataclass(slots=True)
class _Answered:
    """The answers of one variant to one dataset so far."""

    answers: int = 0
    right: int = 0
    loss: float = 0.0
    tokens: int = 0


class Figures:
    """Computes running figures from events. One for each run."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str], _Answered] = defaultdict(_Answered)
        self._judged: dict[str, int] = {outcome.value: 0 for outcome in Outcome}

    def of(self, event: Event, fields: Mapping[str, Any]) -> dict[str, float]:
        """The figures that an event changes; none for most events.

        Measurements are named by their variant and metric, answers by dataset and variant, judgements are counted by
        outcome. Figures that were not measured are left out.
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
