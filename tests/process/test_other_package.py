"""Another package named `plimsoll`, on PYTHONPATH, imported before, or installed over this one, is told in one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.subsession import ROOT, environment

SCRIPT = "import sys; from plimsoll_gpu import main; sys.exit(main())"
"""What the installed script does."""


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env: Mapping[str, str] = environment({"PYTHONSAFEPATH": "1", **variables})
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with another package of that name."""
    (tmp_path / "other" / "plimsoll").mkdir(parents=True)
    (tmp_path / "other" / "plimsoll" / "__init__.py").write_text("version = 9\n")
    (tmp_path / "other" / "plimsoll" / "cli.py").write_text("def main():\n    print('another program')\n")
    return tmp_path / "other"


def told(other: Path) -> str:
    return (
        f"plimsoll: error: another package named plimsoll, at {other / 'plimsoll'}, is found in place of this one: "
        "take its folder off PYTHONPATH, or pip uninstall plimsoll and install plimsoll-gpu again\n"
    )


def test_the_script_says_that_another_package_is_found_first(other: Path) -> None:
    done = run("-c", SCRIPT, "--version", cwd=other.parent, PYTHONPATH=f"{other}:{ROOT}")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told(other))


def test_the_script_runs_the_command_where_nothing_is_in_the_way(tmp_path: Path) -> None:
    done = run("-c", SCRIPT, "--version", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("plimsoll ")


def test_a_copy_of_the_script_finds_the_library_of_a_checkout(tmp_path: Path) -> None:
    """As an editable installation has one, apart from the checkout that it leads to."""
    shutil.copy(ROOT / "plimsoll_gpu.py", tmp_path)
    done = run("-c", SCRIPT, "--version", cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_package_that_was_installed_over_this_one_is_told(tmp_path: Path) -> None:
    """As pip does with two distributions that have the same files: the last one wins, file by file."""
    shutil.copy(ROOT / "plimsoll_gpu.py", tmp_path)
    shutil.copytree(ROOT / "plimsoll", tmp_path / "plimsoll", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "plimsoll" / "__init__.py").write_text("version = 9\n")
    done = run("-c", SCRIPT, "--version", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"plimsoll: error: another package named plimsoll was installed over this one, at {tmp_path / 'plimsoll'}: pip "
        "uninstall plimsoll plimsoll-gpu, and install plimsoll-gpu again\n"
    )


def test_pytest_says_so_where_it_was_imported_before(other: Path) -> None:
    """As by a plugin of the other package's; one that only lies on PYTHONPATH is found after the checkout."""
    start = f"import sys; sys.path.insert(0, {str(other)!r}); import plimsoll, pytest; sys.exit(pytest.main())"
    done = run("-c", start, cwd=ROOT)
    assert done.returncode == 4
    assert told(other).strip() in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
