"""GPUs in the hands of real processes: one has each at a time, nobody waits for ever, who is killed frees its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from plimsoll.host.client.gpu_locks import GpuLocks, checkpoint_lock
from tests.support.users import User, Users, said


def start(users: Users, folder: Path, rounds: int, *names: str) -> User:
    return users.start("gpu_user", folder, rounds, *names)


def test_workers_whose_sets_overlap_all_come_to_their_end_and_none_shares_a_gpu(tmp_path: Path, users: Users) -> None:
    sets = [("GPU-a", "GPU-b"), ("GPU-b", "GPU-a"), ("GPU-b", "GPU-c"), ("GPU-c", "GPU-a")]
    started = [start(users, tmp_path, 30, *one) for one in sets]
    assert [user.communicate(timeout=240)[0].splitlines()[-1] for user in started] == ["done"] * 4
    assert [user.returncode for user in started] == [0] * 4


def test_a_worker_that_is_killed_frees_its_gpus(tmp_path: Path, users: Users) -> None:
    first = start(users, tmp_path, 0, "GPU-a", "MIG-b")
    assert said(first) == "have GPU-a MIG-b"
    second = start(users, tmp_path, 0, "MIG-b", "GPU-c")
    assert said(second) == "waiting MIG-b"
    # Before it frees them: the other one takes what is free at once, and would find the mark of the dead one there.
    (tmp_path / "used-MIG-b").unlink()
    first.kill()
    assert said(second) == "have GPU-c MIG-b"


def test_another_set_is_waited_for_with_empty_hands(tmp_path: Path, users: Users) -> None:
    """Else two workers that each have what the other wants would wait for ever."""
    locks = GpuLocks(tmp_path)
    locks.hold(["GPU-a"])
    other = start(users, tmp_path, 0, "GPU-b")
    assert said(other) == "have GPU-b"
    held: list[frozenset[str]] = []

    def waiting(_name: str, _seconds: float) -> None:
        held.append(locks.held)
        assert other.stdin is not None
        other.stdin.close()

    locks.hold(["GPU-a", "GPU-b"], waiting)
    assert locks.held == {"GPU-a", "GPU-b"}
    # GPU-a comes first in the order and was taken anew.
    assert set(held) == {frozenset({"GPU-a"})}
    locks.hold(["GPU-b"])
    assert locks.held == {"GPU-b"}
    assert said(start(users, tmp_path, 0, "GPU-a")) == "have GPU-a"
    locks.release()
    assert not locks.held


def test_a_timed_load_has_its_checkpoint_to_itself(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, sys\n"
        "d = os.open(sys.argv[1], os.O_RDWR)\n"
        "for how in (fcntl.LOCK_SH, fcntl.LOCK_EX):\n"
        "    try:\n        fcntl.flock(d, how | fcntl.LOCK_NB)\n        print('free')\n"
        "    except BlockingIOError:\n        print('taken')\n"
    )

    def seen() -> list[str]:
        (lock,) = tmp_path.glob(".checkpoint-*.lock")
        return subprocess.check_output([sys.executable, "-c", code, str(lock)], text=True).split()

    with checkpoint_lock(tmp_path, "/weights", alone=False):
        assert seen() == ["free", "taken"]
    with checkpoint_lock(tmp_path, "/weights", alone=True):
        assert seen() == ["taken", "taken"]
    assert seen() == ["free", "free"]
