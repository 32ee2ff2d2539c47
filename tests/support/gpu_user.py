"""A worker that wants GPUs: `python -m tests.support.gpu_user FOLDER ROUNDS NAME...` has them in turn so many times,
and with 0 rounds until its input ends. It says `have` and `waiting`, and fails where another has one of its GPUs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from plimsoll.host.client.gpu_locks import GpuLocks


def main(folder: Path, rounds: int, names: list[str]) -> None:
    locks, told = GpuLocks(folder), set[str]()

    def waiting(name: str, _seconds: float) -> None:
        if name not in told:
            told.add(name)
            print("waiting", name, flush=True)

    for number in range(max(1, rounds)):
        # In another order each time: the locks have one of their own.
        locks.hold(names[number % len(names) :] + names[: number % len(names)], waiting)
        marks = [os.open(folder / f"used-{name}", os.O_CREAT | os.O_EXCL) for name in names]
        if not rounds:
            print("have", *sorted(locks.held), flush=True)
            sys.stdin.read()
        for name, mark in zip(names, marks, strict=True):
            os.close(mark)
            (folder / f"used-{name}").unlink()
        if number % 2:
            locks.release()
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
