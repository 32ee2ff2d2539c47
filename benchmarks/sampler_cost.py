"""What the memory sampler beside a host costs: a process with its thread, against the same process without.

Both run in one process, in turns, against whatever libnvidia-ml.so.1 it finds; without a driver, give it the stand-in:

    python -m benchmarks.sampler_cost --stand-in [--gpus 8] [--seconds 5]

Prints processor time as a part of a core, and the ratio to what is promised (1 %). Exits 1 where it is above.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from plimsoll.host.server.gpu_sampler import GpuSampler, Look

PROMISED = 0.01
_TURNS = 3


def main() -> int:
    """Measure, print, and say by the exit status whether the promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stand-in", action="store_true", help="ask the stand-in NVML of the tests")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs that one host watches (default: 1)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn (default: 5)")
    given = parser.parse_args()
    if given.stand_in and "PLIMSOLL_STAND_IN" not in os.environ:
        return _again_with_the_stand_in(sys.argv[1:])
    looks = _of_nvml(given.gpus)
    asleep, awake = [], []
    for _ in range(_TURNS):
        asleep.append(_share([], given.seconds)[0])
        share, told, interval = _share(looks, given.seconds)
        awake.append(share)
    cost = statistics.median(awake) - statistics.median(asleep)
    sys.stdout.write(
        f"{given.gpus} GPUs, a sample each {interval * 1000:.1f} ms: {cost:.2%} of a core more than without "
        f"({statistics.median(awake):.2%} against {statistics.median(asleep):.2%}); "
        f"the sampler itself says {told:.2%}; {cost / PROMISED:.2f} of what is promised\n"
    )
    return 0 if cost <= PROMISED else 1


def _share(looks: list[Callable[[], Look]], seconds: float) -> tuple[float, float, float]:
    """Processor time of this process as a part of a core; what the sampler says of itself, and its interval."""
    sampler = GpuSampler(looks, looks)
    began, spent = time.monotonic(), time.process_time()
    if looks:
        sampler.start()
    time.sleep(seconds)
    spent, wall = time.process_time() - spent, time.monotonic() - began
    cost = sampler.cost()
    sampler.stop()
    return spent / wall, cost.share or 0.0, cost.interval or 0.0


def _of_nvml(count: int) -> list[Callable[[], Look]]:
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    return [lambda h=handle: Look(device=int(pynvml.nvmlDeviceGetMemoryInfo(h).used)) for handle in handles]  # type: ignore[misc]


def _again_with_the_stand_in(arguments: list[str]) -> int:
    import subprocess

    from tests.support.nvml import stand_in

    with tempfile.TemporaryDirectory() as folder:
        library = stand_in(Path(folder), "eight-h100")
        environment = {**os.environ, "LD_LIBRARY_PATH": str(library), "PLIMSOLL_STAND_IN": "1"}
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.sampler_cost", *arguments], env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
