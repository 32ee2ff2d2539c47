"""`plimsoll run` from a folder that has files of its own, with paths and values of options that look like paths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fork_servers import BELL
from tests.support.forked_sessions import run_python
from tests.support.subsession import ROOT, environment, read_events

_COMMAND = "import sys; from plimsoll.cli import main; sys.exit(main(sys.argv[1:]))"
"""What the script of an installation does, which has no folder of the person's among its modules."""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a space in its name, a module that would hide one of Python's, and a test of somebody else's."""
    folder = tmp_path / "my checks"
    (folder / "acceptance").mkdir(parents=True)
    (folder / "random.py").write_text("raise SystemExit('not ours')\n")
    (folder / "acceptance" / "test_own.py").write_text("def test_own(): pass\n")
    return folder


def plimsoll_run(
    here: Path, *arguments: str, is_started: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Forked unless it `is_started`: only an interpreter that starts has not imported the module that is hidden."""
    command = ["-P", "-c", _COMMAND, "run", "-m", "tiny", "--report-dir=mine", *arguments]
    env = environment({"PYTHONPATH": str(ROOT), **variables})
    if not is_started:
        return run_python(*command, cwd=here, env=env, timeout=300)
    return subprocess.run(
        [sys.executable, *command], cwd=here, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def head_of(here: Path) -> dict[str, object]:
    (head,) = [one for one in read_events(here / "mine" / "latest" / "evidence.jsonl") if one["event"] == "run"]
    return head


def test_values_of_options_are_no_paths(here: Path) -> None:
    done = plimsoll_run(here, "-k", "acceptance and test_stack")
    assert "ACCEPTED over -m tiny -k 'acceptance and test_stack': 1 of 1 check" in done.stdout, (
        done.stdout + done.stderr
    )
    left_out = "acceptance/test_node.py::test_stack[tiny]"
    done = plimsoll_run(here, "-k", "test_stack", "--deselect", left_out)
    assert done.returncode == 6, done.stdout + done.stderr
    assert f"1 check not run: deselected by --deselect={left_out}" in done.stdout


# Nothing is loaded, so no fork server is asked for.
WORKER = ("-n", "1", "-p", "tests.support.plugins.shared_fork_server")


@pytest.mark.parametrize("workers", [(), WORKER], ids=["alone", "worker"])
def test_a_path_that_is_named_is_the_scope_whoever_names_it(here: Path, workers: tuple[str, ...]) -> None:
    variables = {"PYTEST_ADDOPTS": "acceptance/test_node.py", BELL: str(here / "nobody")}
    done = plimsoll_run(here, "-k", "test_stack", *workers, is_started=True, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert head_of(here)["selection"]["paths"] == [str(ROOT / "acceptance" / "test_node.py")]  # type: ignore[index]


def test_added_options_that_cannot_be_read_are_one_error(here: Path) -> None:
    done = plimsoll_run(here, PYTEST_ADDOPTS="-k 'test_stack")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plimsoll: error: PYTEST_ADDOPTS cannot be read (No closing quotation): mend its quotes, or unset it\n"
    )


def test_without_a_check_of_the_suite_nothing_is_green(here: Path) -> None:
    done = plimsoll_run(here, "acceptance/test_own.py")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "none of these paths holds checks of the suite: acceptance/test_own.py" in done.stderr


def test_a_run_is_found_again_where_it_was_left(here: Path) -> None:
    assert plimsoll_run(here, "-k", "test_stack").returncode == 0
    again = plimsoll_run(here, "--resume=latest")
    assert again.returncode == 0, again.stdout + again.stderr
    replayed = plimsoll_run(here, "--replay=mine/latest")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
