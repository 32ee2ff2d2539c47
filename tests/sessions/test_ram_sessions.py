"""Two workers whose models fit only one at a time: the second waits, and neither skips."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.subsession import run_suite

MODELS: Final = ("tiny-llama/bf16", "tiny-qwen/bf16")


def test_what_one_worker_was_admitted_with_is_not_given_to_another(tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    asked = f"loads_completely and ({' or '.join(MODELS)})"
    arguments = ("-m", "tiny", "-k", asked, "-n", "2", "-p", "tests.support.plugins.little_ram")
    outcome = run_suite(tmp_path, *arguments, env={"RAM_MEETING": str(meeting)}, timeout=600)
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    hosts = [event for event in outcome.events if event["event"] == "host" and event["variant"] in MODELS]
    assert len({event["worker"] for event in hosts}) == 2
    at = {(event["variant"], event["state"]): event["at"] for event in hosts}
    first, second = sorted(MODELS, key=lambda name: at[name, "started"])
    assert at[first, "closed"] <= at[second, "started"]
