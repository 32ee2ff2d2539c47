"""A session that is suspended while it loads a model: the load's time counts no more, and everything else goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

from tests.support.plugins.standing import STANDING
from tests.support.subsession import Session, pids_of_hosts, run_until

STOPPED = 4.0


def loading(events: list[dict[str, Any]]) -> bool:
    return any(event["event"] == "sample" and event["variant"] == STANDING for event in events)


def suspend(session: Session, events: list[dict[str, Any]]) -> None:
    """Stop the session with its fork server, the supervisor and the host that loads, which stands already."""
    host = psutil.Process(pids_of_hosts(events)[-1])
    supervisor = host.parent()
    assert supervisor is not None
    server = supervisor.parent()
    assert server is not None
    assert (server.name(), supervisor.name()) == ("plimsoll-fork", "plimsoll-watch")
    run = [psutil.Process(session.pid), server, supervisor, host]
    for process in run:
        process.suspend()
    time.sleep(STOPPED)
    for process in run:
        process.resume()


def test_a_time_in_which_the_run_was_suspended_is_not_judged(trained: dict[str, Path], tmp_path: Path) -> None:
    asked = ("-p", "tests.support.plugins.standing", "-m", "tiny", "-k", f"{STANDING} and (load_time or completely)")
    outcome = run_until(tmp_path, loading, suspend, *asked)
    assert outcome.verdict == "INCOMPLETE", outcome.output
    cold = outcome.cell("test_cold_load_time", STANDING)
    assert cold["outcome"] == "skip"
    assert cold["reason"].startswith("has a run that was suspended for")
    assert not cold["judgements"]
    assert outcome.cell("test_warm_load_time", STANDING)["outcome"] == "pass"
    assert outcome.cell("test_loads_completely", STANDING)["outcome"] == "pass"
    [hit] = [event for event in outcome.events if "suspended" in event]
    assert (hit["event"], hit["request"], hit["variant"]) == ("host", "Load", STANDING)
    assert hit["suspended"] > STOPPED / 2
