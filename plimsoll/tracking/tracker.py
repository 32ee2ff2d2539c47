"""What a tracker is: something that is told of a run while it goes on.

A tracker shows, it does not decide. Whatever goes wrong in one is said once and changes nothing else: `Guarded` sees to
that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

Numbers = Mapping[str, float]


class Tracker(Protocol):
    """Told of one run, in this order: `start` once, `log` often, `finish` once."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def start(self, run_id: str, config: Mapping[str, Any]) -> None:
        """A run begins; `config` is plain data that says what it is."""

    def log(self, numbers: Numbers) -> None:
        """Figures by name, in base units, as they are now."""

    def finish(self) -> None:
        """The run is over."""


class Guarded:
    """Passes everything on to a tracker until it fails; then says so once, and leaves it alone."""

    def __init__(self, tracker: Tracker, warn: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._warn = warn
        self._failed = False

    def start(self, run_id: str, config: Mapping[str, Any]) -> None:
        """See Tracker."""
        self._try(lambda: self._tracker.start(run_id, config))

    def log(self, numbers: Callable[[], Numbers]) -> None:
        """Log what the function gives, where it gives anything; it fails as softly as the tracker itself."""

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
