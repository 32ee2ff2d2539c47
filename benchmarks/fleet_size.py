"""How long a fleet's verdict takes, in what memory, and how large its page is: 1,000 nodes of 8 GPUs, made up.

    .venv/bin/python -m benchmarks.fleet_size [NODES]

60 seconds, 2 GB and a page of 5 MB are what it may take; the process fails where it takes more. Some nodes are odd.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from tests.support.fleet_runs import MadeNode, write_node

NODES: Final = 1000
MOST_SECONDS: Final = 60.0
MOST_MEMORY: Final = 2e9
MOST_PAGE: Final = 5e6


def made(number: int, count: int) -> MadeNode:
    """A node; every fiftieth fails, every fortieth has another driver, every thirtieth a slow GPU."""
    node = MadeNode(name=f"node{number:0{len(str(count))}}")
    if number % 50 == 7:
        node = replace(node, failing=((3, "ecc"),))
    if number % 40 == 3:
        node = replace(node, driver="570.133.20")
    if number % 30 == 5:
        node = replace(node, slow={2: 1 / 0.9})
    return node


def _write(folder: Path, count: int, number: int) -> int:
    run = write_node(folder, made(number, count))
    return (run / "evidence.jsonl").stat().st_size


def _peak(folder: Path) -> tuple[float, float, float]:
    """Seconds on the clock and of processors, and the most memory of the command and its processes, in bytes."""
    command = [sys.executable, "-m", "plimsoll", "fleet", str(folder / "nodes"), "--output", str(folder / "out")]
    began, used = time.monotonic(), _used()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        most = max(most, _memory_of(process.pid))
        time.sleep(0.1)
    assert process.returncode == 1, process.returncode
    return time.monotonic() - began, _used() - used, most


def _used() -> float:
    """Seconds of a processor that finished children took, theirs included."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _memory_of(pid: int) -> float:
    """Proportional memory of a process and those that it started: what forked processes share counts once."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if int(folder.name) == pid or parent == pid:
                rollup = (folder / "smaps_rollup").read_text()
                total += 1024 * int(rollup.partition("Pss:")[2].split()[0])
        except (OSError, ValueError, IndexError):
            continue
    return total


def main() -> None:
    """Print seconds and bytes; fail where they are too many."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else NODES
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            size = sum(pool.map(partial(_write, folder / "nodes", count), range(1, count + 1), chunksize=8))
        seconds, used, memory = _peak(folder)
        page = (folder / "out" / "fleet.html").stat().st_size
        data = json.loads((folder / "out" / "fleet.json").read_text())
        print(f"{count:,} nodes, evidence {size / 1e6:.0f} MB; {len(os.sched_getaffinity(0))} cores")
        print(
            f"{seconds:.1f} s, {used:.1f} s of processors, {memory / 1e9:.2f} GB, page {page / 1e6:.2f} MB; "
            f"{data['statement']}"
        )
        print(f"{len(data['outliers'])} outliers in {data['looks']:,} looks, {len(data['differences'])} differences")
        assert len(data["nodes"]) == count
        assert seconds <= MOST_SECONDS, seconds
        assert memory <= MOST_MEMORY, memory
        assert page <= MOST_PAGE, page


if __name__ == "__main__":
    main()
