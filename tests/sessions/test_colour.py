"""NO_COLOR (no-color.org), on a real terminal: colour where nobody objects, and none where somebody does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.compare_runs import noisy, timed_run
from tests.support.forked_sessions import run_python
from tests.support.run_events import cell, good_run, numbered, write_events
from tests.support.subsession import environment
from tests.support.terminals import on_a_terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_events(tmp_path / "run", numbered(good_run([cell("test_it")]))).parent


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_the_verdict_is_coloured_unless_somebody_objects(run: Path, env: dict[str, str], coloured: bool) -> None:
    status, output = on_a_terminal("pytest", f"--replay={run}", "-p", "no:cacheprovider", **env)
    assert status == 0
    assert bool(COLOUR.search(output)) is coloured
    last = output.rstrip().splitlines()[-1]
    assert COLOUR.sub("", last) == "ACCEPTED over -m tiny: 1 of 1 check passed"
    assert ("\x1b[32m" in last) is coloured


def test_what_goes_to_a_file_has_no_colour(run: Path) -> None:
    kept = {k: v for k, v in environment().items() if k not in ("FORCE_COLOR", "PY_COLORS")}
    done = run_python("-m", "pytest", f"--replay={run}", "-p", "no:cacheprovider", env=kept)
    assert done.returncode == 0
    assert "1 of 1 check passed" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", [["--help"], ["probe"], ["schema"], ["compare", "--help"], ["no-such-command"]])
def test_no_command_colours_what_it_prints(command: list[str]) -> None:
    _, output = on_a_terminal("plimsoll", *command, NO_COLOR="1")
    assert output
    assert "\x1b" not in output


def test_reports_and_comparisons_are_plain_too(run: Path, tmp_path: Path) -> None:
    assert "\x1b" not in on_a_terminal("plimsoll", "report", run, NO_COLOR="1")[1]
    runs = [timed_run(tmp_path, name, {"a/nf4": noisy(1, 8)}) for name in "ab"]
    status, output = on_a_terminal("plimsoll", "compare", *runs, NO_COLOR="1")
    assert status == 0
    assert "\x1b" not in output


@pytest.mark.parametrize(("env", "live"), [({}, True), ({"TERM": "dumb"}, False)])
def test_the_live_line_of_builds_moves_the_cursor_only_where_a_terminal_can(
    trained: dict[str, Path], env: dict[str, str], live: bool
) -> None:
    status, output = on_a_terminal("plimsoll", "tiny", "build", "tiny-llama", NO_COLOR="1", **env)
    assert status == 0
    assert not COLOUR.search(output)
    assert ("\x1b[K" in output) is live
