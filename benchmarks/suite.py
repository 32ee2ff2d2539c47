"""How long the suite itself takes: collecting, and the tiny tier with built checkpoints.

    python benchmarks/suite.py [--rounds 5] [--tiny]

Collecting is set against `pytest --collect-only` of an empty folder: what pytest and its plugins take on their own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from plimsoll import clock

ROOT = Path(__file__).parents[1]


def seconds_of(arguments: list[str], cwd: Path) -> float:
    """Wall-clock seconds of a pytest process."""
    start = clock.monotonic()
    subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=cwd, capture_output=True, check=False)
    return clock.monotonic() - start


def main() -> int:
    """Print the figures, medians with their range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="also run the tiny tier, once, on built checkpoints")
    options = parser.parse_args()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as empty:
        for _ in range(options.rounds):
            theirs.append(seconds_of(["--collect-only", "-q"], Path(empty)))
            ours.append(seconds_of(["--collect-only", "-q"], ROOT))
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"collect the suite        {statistics.median(ours):.2f} s ({min(ours):.2f} to {max(ours):.2f})")
    print(f"collect an empty folder  {statistics.median(theirs):.2f} s; ratio {statistics.median(pairs):.2f}")
    if options.tiny:
        with tempfile.TemporaryDirectory() as reports:
            subprocess.run([sys.executable, "-m", "plimsoll", "tiny", "build"], cwd=ROOT, check=True)
            print(f"pytest -m tiny           {seconds_of(['-m', 'tiny', f'--report-dir={reports}'], ROOT):.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
