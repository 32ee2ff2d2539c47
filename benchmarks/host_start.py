"""How long a host takes to be ready, against a cold interpreter that imports the same.

    python benchmarks/host_start.py [HOSTS]

Ready means started, asked for something trivial, and answered. The cold interpreter is what a subprocess for each
variant would cost. Prints one figure a line, the ratio last.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from plimsoll import clock
from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Call

COLD_ROUNDS = 3
TARGET = 0.3
"""Seconds in which a host should be ready after the first."""


def cold() -> float:
    """Seconds of an interpreter that imports what a host has imported."""
    began = clock.monotonic()
    command = [sys.executable, "-c", "import torch, transformers, accelerate, bitsandbytes"]
    subprocess.run(command, check=True, capture_output=True)
    return clock.monotonic() - began


def ready(hosts: Hosts, log: Path) -> float:
    """Seconds until a fresh host has answered."""
    began = clock.monotonic()
    host = hosts.start("benchmark", log)
    assert host.ask(Call(target="os:getpid"), deadline=60.0) == host.pid
    seconds = clock.monotonic() - began
    host.close()
    return seconds


def main(count: int) -> None:
    """Measure and print."""
    interpreter = statistics.median(cold() for _ in range(COLD_ROUNDS))
    with tempfile.TemporaryDirectory() as folder, Hosts() as hosts:
        first = ready(hosts, Path(folder, "host.log"))
        later = [ready(hosts, Path(folder, "host.log")) for _ in range(count)]
    median = statistics.median(later)
    print(f"cold interpreter   {interpreter:.3f} s (median of {COLD_ROUNDS})")
    print(f"first host         {first:.3f} s")
    print(f"later host         {median:.3f} s (median of {count}, worst {max(later):.3f} s; target {TARGET} s)")
    print(f"later host / cold  {median / interpreter:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
