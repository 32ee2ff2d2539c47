"""Lets a session believe that the machine has room for one small model at a time; asked for by `-p`.

Whoever has started a model's host goes on only once the other worker has one too, or waits for RAM (RAM_MEETING is a
folder where they meet): two hosts that may be there at once are.
"""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

AVAILABLE = 12 * 10**8
LONGEST = 120.0


def pytest_configure() -> None:
    import fixtures.hosts
    from fixtures.progress import Progress

    module: Any = fixtures.hosts
    shown: Any = Progress

    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    meeting = Path(os.environ["RAM_MEETING"])
    read, start, update = module.read_memory, module.SuiteHosts.start, shown.update

    def little() -> Any:
        memory, unread = read()
        return replace(memory, available=AVAILABLE), unread

    def start_and_meet(self: Any, name: str, devices: Any = (), among: Any = ()) -> Any:
        host = start(self, name, devices, among)
        if "/" in name:
            (meeting / worker).touch()
            end = time.monotonic() + LONGEST
            while len(list(meeting.iterdir())) < 2 and time.monotonic() < end:
                time.sleep(0.05)
        return host

    def tell(self: Any, label: str, seconds: float, rss: int | None) -> None:
        if "waits for RAM" in label:
            (meeting / worker).touch()
        update(self, label, seconds, rss)

    module.read_memory = little
    module.SuiteHosts.start = start_and_meet
    shown.update = tell
