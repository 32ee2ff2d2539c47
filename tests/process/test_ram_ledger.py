"""RAM in the hands of real processes: what one was admitted with is not given twice, and a dead one frees its share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from plimsoll.host.client.ram_ledger import RamLedger, RamShare, RamWanting
from tests.support.users import User, Users, said

GB: Final = 10**9
LONG: Final = 240.0


def start(users: Users, folder: Path, available: int, size: int, timeout: float = LONG, taken: int = 0) -> User:
    return users.start("ram_user", folder, available, size, timeout, taken)


def test_of_two_hosts_that_fit_only_alone_the_second_waits_for_the_first(tmp_path: Path, users: Users) -> None:
    first = start(users, tmp_path, 10 * GB, 8 * GB)
    assert said(first) == "have 0"
    second = start(users, tmp_path, 10 * GB, 8 * GB)
    assert said(second) == "waiting"
    first.communicate(timeout=LONG)
    assert said(second) == "have 0"


def test_hosts_that_fit_together_are_there_together(tmp_path: Path, users: Users) -> None:
    for _ in range(3):
        assert said(start(users, tmp_path, 10 * GB, 3 * GB)) == "have 0"


def test_a_worker_that_is_killed_frees_its_share(tmp_path: Path, users: Users) -> None:
    first = start(users, tmp_path, 10 * GB, 8 * GB)
    assert said(first) == "have 0"
    second = start(users, tmp_path, 10 * GB, 8 * GB)
    assert said(second) == "waiting"
    first.kill()
    assert said(second) == "have 0"
    assert len(list(tmp_path.glob(".ram-*/*.share"))) == 1, "what the dead one wrote is cleared away"


def test_who_has_waited_long_enough_is_told_what_others_hold(tmp_path: Path, users: Users) -> None:
    assert said(start(users, tmp_path, 10 * GB, 8 * GB)) == "have 0"
    found = RamLedger(tmp_path, lambda: 10 * GB).reserve(3 * GB, timeout=0.0)
    assert isinstance(found, RamWanting)
    assert str(found) == (
        "10.00 GB (9.31 GiB) of RAM available, of which a host of another worker was admitted with "
        "8.00 GB (7.45 GiB) that it has not taken yet"
    )


def test_what_a_host_has_taken_already_counts_once(tmp_path: Path, users: Users) -> None:
    """The machine has less by it already: 2 of 3 GB are promised beside what it holds."""
    holder = start(users, tmp_path, 10 * GB, 3 * 10**8, taken=2 * 10**8)
    assert said(holder) == f"have {2 * 10**8}"
    ledger = RamLedger(tmp_path, lambda: 10**9)
    assert isinstance(ledger.reserve(95 * 10**7, timeout=0.0), RamWanting)
    share = ledger.reserve(9 * 10**8, timeout=0.0)
    assert isinstance(share, RamShare), share


def test_who_is_alone_is_admitted_by_the_gates_word(tmp_path: Path) -> None:
    ledger = RamLedger(tmp_path, lambda: 0)
    first = ledger.reserve(GB, timeout=0.0)
    assert isinstance(first, RamShare)
    assert isinstance(ledger.reserve(GB, timeout=0.0), RamShare), "what a process has itself keeps it from nothing"
    first.release()
    first.release()
    assert not first.path.exists()


def test_a_small_host_does_not_overtake_one_that_waits(tmp_path: Path, users: Users) -> None:
    first = start(users, tmp_path, 10 * GB, 8 * GB)
    assert said(first) == "have 0"
    large = start(users, tmp_path, 10 * GB, 9 * GB)
    assert said(large) == "waiting"
    small = start(users, tmp_path, 10 * GB, GB)
    assert said(small) == "waiting"
    first.communicate(timeout=LONG)
    assert said(large) == "have 0"
    assert said(small) == "have 0", "the two fit together"


def test_a_process_of_the_same_number_in_another_container_is_another(
    tmp_path: Path, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = start(users, tmp_path, 10 * GB, 8 * GB)
    assert said(other) == "have 0"
    monkeypatch.setattr(os, "getpid", lambda: other.pid)
    ledger = RamLedger(tmp_path, lambda: 10 * GB)
    assert isinstance(ledger.reserve(3 * GB, timeout=0.0), RamWanting)
    assert isinstance(ledger.reserve(GB, timeout=0.0), RamShare)
