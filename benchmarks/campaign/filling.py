"""How fast synthetic weights are made here: what the time of a large load depends on.

    python -m benchmarks.campaign.filling [--device cuda:0]

Prints bytes a second, as JSON: the fastest of three fillings of half a gigabyte, by the very code that a load uses. On
a device that fills other bits than the CPU it prints none, and ends with 1: its loads would be of other weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from benchmarks.campaign.stages import Step
from benchmarks.synthetic_row import ROOT
from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.units import format_bytes, format_seconds

RATE: Final = "filling-{}.json"
_VALUES: Final = 2**28
_ROUNDS: Final = 3
_GPU: Final = "cuda:0"
"""Where the weights of a load are made."""


def measured_rate(out: Path, device: str) -> float:
    """Bytes of weights that are made a second on a device of this machine, measured once and kept in `out`. Raises
    PlimsollError where it cannot be measured."""
    kept = out / RATE.format(device.replace(":", "-"))
    if not kept.is_file():
        command = [sys.executable, "-m", "benchmarks.campaign.filling", "--device", device]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise PlimsollError(f"how fast weights are made could not be measured: {said}")
        out.mkdir(parents=True, exist_ok=True)
        kept.write_text(done.stdout, "utf-8")
    try:
        return float(json.loads(kept.read_text("utf-8"))["bytes_per_second"])
    except (OSError, ValueError, KeyError, TypeError):
        raise PlimsollError(f"{kept} cannot be read; delete it, and it is measured again") from None


def estimates(steps: Iterable[Step], rate: Callable[[str], float]) -> list[str]:
    """A line for each load: its weights in 16 bit, and how long making them takes; `rate` is bytes a second on a
    device."""
    lines = []
    for step in steps:
        if step.gigabytes:
            seconds = step.gigabytes * 1e9 / rate(_GPU)
            late = "" if seconds <= 60 * step.minutes else f", and {step.minutes:g} min were predicted for all of it"
            size = format_bytes(step.gigabytes * 1e9)
            lines.append(f"{step.variant}: {size} of weights take {format_seconds(seconds)} to make on {_GPU}{late}")
    return lines


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    import torch

    from plimsoll.host.server.linux import map_large_blocks
    from plimsoll.host.server.synthetic import SyntheticTensor

    map_large_blocks()
    device = torch.device(options.device)
    tensor = SyntheticTensor("filling", (_VALUES,), 0.02)
    seconds = []
    for _ in range(_ROUNDS):
        start = clock.monotonic()
        made = tensor.made_on(device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(clock.monotonic() - start)
        del made
    small = SyntheticTensor("filling", (_VALUES // 16,), 0.02)
    if not torch.equal(small.made_on(device).cpu().view(torch.int16), small[...].view(torch.int16)):
        sys.stderr.write(f"{device} fills other bits than the CPU\n")
        return 1
    rate = 2 * _VALUES / min(seconds)
    print(json.dumps({"bytes_per_second": rate, "device": str(device), "threads": torch.get_num_threads()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
