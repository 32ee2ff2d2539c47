"""Paths of a run's options: `~` behind an equals sign, and who has no home at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.subsession import run_inside

NOBODY = 2**31 - 2
"""The number of a user that no machine knows, as a container may give to a process."""


def test_a_run_of_who_has_no_home_is_one_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "PLIMSOLL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)
    outcome = run_inside(tmp_path / "reports", "-m", "node", "-k", "stack")
    assert (outcome.status, not (tmp_path / "reports").exists()) == (4, True), outcome.output
    assert "set PLIMSOLL_CACHE to a folder that can be written, or HOME" in outcome.output
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("option", ["--catalogue", "--waivers", "--report-dir", "--resume", "--replay", "--against"])
def test_a_home_that_nobody_has_is_one_error(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (f"{option}=~nobody-has-this-home/x", "-m", "node", "-k", "stack")
    outcome = run_inside(tmp_path / "reports", *arguments)
    assert outcome.status == 4, outcome.output
    assert "nobody here has the home ~nobody-has-this-home" in outcome.output
    assert "Traceback" not in outcome.output


def test_options_of_the_suite_read_a_path_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves the `~` behind an equals sign, with which each of them is to be written, to the program."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.toml").write_text("[[waiver]]\ncells = 7\n")
    outcome = run_inside(tmp_path / "reports", "--waivers=~/w.toml", "-m", "node", "-k", "stack")
    assert "w.toml: waiver[0].cells: must be a text, not 7" in outcome.output
    (tmp_path / "my.toml").write_text("[[modle]]\n")
    outcome = run_inside(tmp_path / "reports", "--catalogue=~/my.toml", "-m", "node", "-k", "stack")
    assert "modle" in outcome.output


def test_a_new_folder_that_stands_alone_is_refused_where_workers_would_take_it_for_their_root(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    outcome = run_inside(tmp_path / "reports", "-m", "node", "-k", "stack", "-n", "2", "--report-dir", str(folder))
    assert (outcome.status, folder.exists()) == (4, False), outcome.output
    assert f"with -n, write --report-dir={folder}: workers take one that stands alone for their root" in outcome.output
