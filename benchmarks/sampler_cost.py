"""What the memory sampler beside a host costs: a process with its thread, against the same process without.

Both run in one process, in turns, against whatever libnvidia-ml.so.1 it finds; without a driver, give it the stand-in:

    python -m benchmarks.sampler_cost --stand-in [--gpus 8] [--seconds 5]

Prints processor time as a part of a core, and the ratio to what is promised (1 %). Beside it, the same with answers
that cost nothing: that is the sampler alone; and what one answer costs, by which samples come further apart than 10 ms:
the stand-in reads a scenario for each, and is no measure of a driver. Exits 1 where the cost is above what is promised.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plimsoll.host.server.gpu_sampler import GpuSampler, MemorySample

PROMISED = 0.01
_TURNS = 3
_ANSWERS = 500


def main() -> int:
    """Measure, print, and say by the exit status whether the promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stand-in", action="store_true", help="ask the stand-in NVML of the tests")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs that one host watches (default: 1)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn (default: 5)")
    given = parser.parse_args()
    if given.stand_in and "PLIMSOLL_STAND_IN" not in os.environ:
        return _again_with_the_stand_in(sys.argv[1:])
    handles = _handles(given.gpus)
    free, close = [lambda: 1] * given.gpus, [lambda: MemorySample(device=1)] * given.gpus
    asleep, awake, alone = [], [], []
    for _ in range(_TURNS):
        asleep.append(_share([], [], given.seconds))
        alone.append(_share(free, close, given.seconds))
        awake.append(_share([_device(each) for each in handles], [_all(each) for each in handles], given.seconds))
    base, own, cost = (statistics.median(share for share, _, _ in found) for found in (asleep, alone, awake))
    told, interval = (statistics.median(found[place] for found in awake) for place in (1, 2))
    sys.stdout.write(
        f"{given.gpus} GPUs, a sample each {interval * 1000:.1f} ms: {cost - base:.2%} of a core more than without "
        f"({cost:.2%} against {base:.2%}); the sampler itself says {told:.2%}; "
        f"{(cost - base) / PROMISED:.2f} of what is promised\n"
        f"with answers that cost nothing, a sample each {statistics.median(i for _, _, i in alone) * 1000:.1f} ms: "
        f"{own - base:.2%}\n"
        f"an answer: {_answer(_device(handles[0])) * 1e6:.0f} us for the device, "
        f"{_answer(_all(handles[0])) * 1e6:.0f} us with the list of processes\n"
    )
    return 0 if cost - base <= PROMISED else 1


def _share(
    looks: Sequence[Callable[[], int | None]], closely: Sequence[Callable[[], MemorySample]], seconds: float
) -> tuple[float, float, float]:
    """Processor time of this process as a part of a core; what the sampler says of itself, and its interval."""
    sampler = GpuSampler(looks, closely)
    began, spent = time.monotonic(), time.process_time()
    if looks:
        sampler.start()
    time.sleep(seconds)
    spent, wall = time.process_time() - spent, time.monotonic() - began
    cost = sampler.cost()
    sampler.stop()
    return spent / wall, cost.share or 0.0, cost.interval or 0.0


def _handles(count: int) -> list[Any]:
    import pynvml

    pynvml.nvmlInit()
    return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]


def _device(handle: Any) -> Callable[[], int]:
    """What a host asks every hundredth of a second."""
    import pynvml

    return lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)


def _all(handle: Any) -> Callable[[], MemorySample]:
    """What it asks now and then: its own part too."""
    import pynvml

    def look() -> MemorySample:
        used = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
        mine = [each for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle) if each.pid == os.getpid()]
        return MemorySample(device=used, process=mine[0].usedGpuMemory if mine else None)

    return look


def _answer(look: Callable[[], object]) -> float:
    """Seconds of processor time of one look, from one to the next without sleep between."""
    look()
    began = time.thread_time()
    for _ in range(_ANSWERS):
        look()
    return (time.thread_time() - began) / _ANSWERS


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
