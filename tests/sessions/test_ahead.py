"""When a session begins to import the model stack for its workers: before all else, and only where checks will run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.plugins import worker_starts
from tests.support.plugins.server_notes import NOTES
from tests.support.subsession import pytest_apart, run_suite

PLUGIN = ("-p", "tests.support.plugins.server_notes")


@pytest.mark.parametrize(
    ("arguments", "noted"),
    [
        (("-n", "2", "--no-such-option"), ["ahead", "closed"]),
        (("-n", "auto", "acceptance/test_load.py", "--no-such-option"), ["ahead", "closed"]),
        (("-n", "2", "-p", "no:debugging", "--no-such-option"), ["ahead", "closed"]),
        (("-n", "2", "tests/unit", "--no-such-option"), []),
        (("-n", "2", "--collect-only", "-k", "nothing_of_that_name"), []),
        (("-n", "2", "--markers"), []),
        (("-n", "0", "--no-such-option"), []),
        (("--no-such-option",), []),
    ],
    ids=["mistyped", "path", "no-debugger", "other-tests", "collects", "tells", "no-workers", "alone"],
)
def test_the_server_begins_where_checks_will_run(tmp_path: Path, arguments: tuple[str, ...], noted: list[str]) -> None:
    notes = tmp_path / "notes"
    pytest_apart(*PLUGIN, *arguments, env={NOTES: str(notes)})
    assert (notes.read_text().split() if notes.exists() else []) == noted


@pytest.mark.parametrize(
    ("workers", "when"), [(("-n", "2"), "ahead"), (("-d", "--tx", "2*popen"), "late")], ids=["counted", "specified"]
)
def test_the_server_of_a_run_is_dismissed_with_the_last_worker(
    tmp_path: Path, workers: tuple[str, ...], when: str
) -> None:
    """Where workers are specified, they may be on other machines: then it begins with the first that is on this one."""
    notes = tmp_path / "notes"
    asked = ("-m", "tiny and bf16", "-k", "free_ram")
    outcome = run_suite(tmp_path / "reports", *PLUGIN, *workers, *asked, env={NOTES: str(notes)})
    assert outcome.verdict == "ACCEPTED", outcome.output
    assert notes.read_text().split() == [when, "dismissed", "closed"]


def test_workers_leave_a_core_to_the_import_that_they_wait_for(tmp_path: Path) -> None:
    """Of two cores the import has one, and workers begin one after the other on the other."""
    two = sorted(os.sched_getaffinity(0))[:2]
    notes = tmp_path / "notes"
    outcome = run_suite(
        tmp_path / "reports",
        *("-p", worker_starts.__name__, "-n", "3", "-m", "tiny and bf16", "-k", "free_ram"),
        env={worker_starts.NOTES: str(notes)},
        preexec=lambda: os.sched_setaffinity(0, two),
    )
    assert outcome.verdict == "ACCEPTED", outcome.output
    assert notes.read_text().splitlines() == [
        f"gw{number} {word}" for number in range(3) for word in ("begins", "collected")
    ]
