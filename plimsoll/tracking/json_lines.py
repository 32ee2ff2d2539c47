"""A tracker that needs nothing: one JSON line each time, in a file that `tail -f` follows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plimsoll import clock
from plimsoll.evidence.fields import encode
from plimsoll.tracking.tracker import Numbers


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
