"""Shows builds to people: one live line on a terminal, plain lines of what changed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Final, TextIO

from plimsoll.streams import LiveLine
from plimsoll.tiny.builder import BuildPhase, BuildProgress
from plimsoll.units import format_seconds

_NOTED: Final = (BuildPhase.WAITING, BuildPhase.REPLACING)
"""The phases whose note a reader needs to understand what happens."""


class Display:
    """The progress of several builds on one stream; may be updated from several threads."""

    def __init__(self, stream: TextIO, models: Sequence[str]) -> None:
        self._line = LiveLine(stream)
        self._states: dict[str, BuildProgress | None] = dict.fromkeys(models)
        self._lock = Lock()

    def update(self, state: BuildProgress) -> None:
        """Take up one sign of life."""
        with self._lock:
            before = self._states[state.model]
            self._states[state.model] = state
            if before is None or before.phase is not state.phase:
                self._announce(state)
            if self._line.is_live:
                self._draw()

    def close(self) -> None:
        """Take the live line away, so that what follows starts on a clean line."""
        with self._lock:
            self._line.clear()

    def _announce(self, state: BuildProgress) -> None:
        if state.phase in _NOTED:
            self._line.stay(f"{state.model}: {state.phase}: {state.note}")
        elif state.phase is BuildPhase.TRAINING and not self._line.is_live:
            self._line.stay(f"{state.model}: training, {state.total} steps")

    def _draw(self) -> None:
        parts = [_part(state) for state in self._states.values() if state is not None]
        seconds = max(state.seconds for state in self._states.values() if state is not None)
        waiting = len(self._states) - len(parts)
        text = f"{format_seconds(seconds)}  " + "  ".join(parts) + (f"  {waiting} to come" if waiting else "")
        self._line.tell(text)


def _part(state: BuildProgress) -> str:
    if state.phase is BuildPhase.TRAINING:
        return f"{state.model} {state.done * 100 // state.total}%"
    return f"{state.model} {state.phase}"
