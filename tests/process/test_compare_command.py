"""`plimsoll compare` as a user meets it: what it prints, what it writes, what it exits with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.compare_runs import noisy, timed_run

ROOT = Path(__file__).parents[2]


def seconds(seed: int, count: int = 19, slower: float = 1.0) -> dict[str, list[float]]:
    """Twelve variants at 5 % noise; the last is slower."""
    times = {f"model-{i}/nf4": noisy(100 * seed + i, count) for i in range(12)}
    times["model-11/nf4"] = [slower * value for value in times["model-11/nf4"]]
    return times


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return timed_run(tmp_path, "base", seconds(1), memory={"model-0/nf4": 10**9})


def test_without_numpy_the_extra_is_named(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2))
    script = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'numpy' else find(name, *rest)\n"
        f"from plimsoll.cli import main; sys.exit(main(['compare', {str(base)!r}, {str(other)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "plimsoll: error: comparing runs needs numpy, which is not installed; install the extra: "
        f"pip install -e '{ROOT}[compare]'\n"
    )


def test_reading_sides_imports_no_scipy() -> None:
    script = (
        "import sys; import plimsoll.compare.finding, plimsoll.commands.compare, plimsoll.compare.texts\n"
        "print({'scipy', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_comparison_imports_neither_scipy_nor_what_hosts_are_asked(base: Path, tmp_path: Path) -> None:
    """They would take a fifth and a tenth of the time of a whole comparison."""
    other = timed_run(tmp_path, "other", seconds(2))
    script = (
        "import sys; from plimsoll.cli import main\n"
        f"status = main(['compare', {str(base)!r}, {str(other)!r}])\n"
        "heavy = {'scipy', 'numpy', 'matplotlib', 'plimsoll.host.protocol'}\n"
        "print(status, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "0 ['numpy']\n", done.stdout
