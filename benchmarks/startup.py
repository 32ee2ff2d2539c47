"""How long it takes until something happens: collecting every check, `plimsoll --help`, `plan`, `audit`, `compare`.

    python -m benchmarks.startup [--rounds 5] [--no-bytecode]

Every command is a process. Each round starts all of them, one after the other, so that other work on the machine
burdens all alike; a command is told as a multiple of `python -c "import pytest"` of the same round. Collecting is also
set against pytest's own part: collecting as many empty tests. Seconds are those of the wall clock and those of a
processor, user and system together; medians, with their range.

Bytecode is written to a folder of its own and read from there, as it is for whoever installs the suite.
`--no-bytecode` measures what containers pay that set PYTHONDONTWRITEBYTECODE: the suite, but not what is installed, is
compiled at every start (in a checkout without bytecode).
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll import clock
from tests.support.compare_runs import noisy, timed_events, write_run

ROOT: Final = Path(__file__).parents[1]
_IMPORT: Final = "python -c 'import pytest'"
_SUITE: Final = "pytest --collect-only"
_EMPTY: Final = "the same of empty tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is started, and where."""

    arguments: Sequence[str]
    cwd: Path = ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Seconds that one process took."""

    wall: float
    processor: float


def processor() -> float:
    """Seconds of a processor that finished child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def taken(command: Command, environment: Mapping[str, str]) -> tuple[Taken, str]:
    """What a command took, and what it said. Raises CalledProcessError for one that fails."""
    before, began = processor(), clock.monotonic()
    done = subprocess.run(
        [sys.executable, *command.arguments],
        cwd=command.cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Taken(wall=clock.monotonic() - began, processor=processor() - before), done.stdout


def commands(tests: Path, runs: Sequence[Path]) -> dict[str, Command]:
    """What is measured, by its name; pytest's own part is collected in a folder `tests`. `runs` are two to compare."""
    base, other = map(str, runs)
    collect = ("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider")
    return {
        _IMPORT: Command(arguments=("-c", "import pytest")),
        _SUITE: Command(arguments=collect),
        _EMPTY: Command(arguments=(*collect, "-p", "no:hypothesispytest", "-p", "no:anyio"), cwd=tests),
        "plimsoll --help": Command(arguments=("-m", "plimsoll", "--help")),
        "plimsoll plan, warm": Command(arguments=("-m", "plimsoll", "plan")),
        "plimsoll audit": Command(arguments=("-m", "plimsoll", "audit")),
        "plimsoll compare": Command(arguments=("-m", "plimsoll", "compare", base, other)),
        "plimsoll report --no-pages": Command(arguments=("-m", "plimsoll", "report", base, "--no-pages")),
    }


def write_runs(folder: Path) -> list[Path]:
    """Two runs in which a dozen variants were loaded five times."""
    return [
        write_run(
            folder / name,
            timed_events({f"model-{n}/nf4": noisy(10 * number + n, 5) for n in range(12)}, run_id=name),
        )
        for number, name in enumerate(("base", "other"))
    ]


def write_empty_tests(folder: Path, count: int) -> None:
    """As many tests as the suite has, of one function."""
    text = f"import pytest\n\n\n@pytest.mark.parametrize('number', range({count}))\ndef test_empty(number):\n    pass\n"
    (folder / "test_empty.py").write_text(text, encoding="utf-8")


def told(values: Sequence[float], form: str = "6.2f") -> str:
    """The median and the range of some values."""
    return f"{statistics.median(values):{form}} ({min(values):.2f} to {max(values):.2f})"


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-bytecode", action="store_true", help="compile the suite at every start")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tests, bytecode = Path(temporary, "tests"), Path(temporary, "bytecode")
        tests.mkdir()
        environment = dict(os.environ)
        if options.no_bytecode:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        else:
            environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
        measured = commands(tests, write_runs(Path(temporary)))
        _, said = taken(measured[_SUITE], environment)
        count = int(re.findall(r"^(\d+) tests collected", said, re.MULTILINE)[-1])
        write_empty_tests(tests, count)
        # The first start of each writes the bytecode, and the predictions of the plan.
        for command in measured.values():
            taken(command, environment)
        rounds = [
            {name: taken(command, environment)[0] for name, command in measured.items()} for _ in range(options.rounds)
        ]
    print(f"{count:,} checks, {options.rounds} rounds, {'no bytecode' if options.no_bytecode else 'with bytecode'}")
    for name in measured:
        wall = told([one[name].wall for one in rounds])
        cpu = told([one[name].processor for one in rounds])
        times = told([one[name].processor / one[_IMPORT].processor for one in rounds], "5.1f")
        print(f"{name:27} wall {wall} s   processor {cpu} s   times the import {times}")
    own = [one[_SUITE].processor / one[_EMPTY].processor for one in rounds]
    print(f"collecting, of empty tests {told(own)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
