"""A worker that wants RAM: `python -m tests.support.ram_user FOLDER AVAILABLE SIZE TIMEOUT [TAKEN]`, sizes in bytes.

It says `waiting`, then `have` or `wanting` with the reason, and holds its share until its input ends. AVAILABLE is what
it is told that the machine has; with TAKEN it holds so many bytes itself, and names itself as the one who takes them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from plimsoll.host.client.ram_ledger import RamLedger, RamWanting


def main(folder: Path, available: int, size: int, timeout: float, taken: int) -> None:
    told = set[bool]()

    def waiting(_why: str, _seconds: float) -> None:
        if not told:
            told.add(True)
            print("waiting", flush=True)

    found = RamLedger(folder, lambda: available).reserve(size, timeout, waiting)
    if isinstance(found, RamWanting):
        print("wanting", found, flush=True)
        return
    held = b"x" * taken
    if taken:
        found.taken_by(os.getpid())
    print("have", len(held), flush=True)
    sys.stdin.read()
    found.release()


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        int(sys.argv[3]),
        float(sys.argv[4]),
        int(sys.argv[5]) if len(sys.argv) > 5 else 0,
    )
