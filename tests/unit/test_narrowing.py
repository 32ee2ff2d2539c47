"""Reasons for checks that pytest does not run, from what was noted while it collected."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import narrowing

CHECK = "acceptance/test_node.py::test_stack[tiny]"


def noted(root: Path, answer: bool | None, path: Path) -> dict[str, str]:
    """What a watch has noted after a plugin was asked whether to ignore a path."""
    watch = narrowing.CollectionWatch()
    config: Any = SimpleNamespace(
        rootpath=root,
        pluginmanager=SimpleNamespace(get_name=lambda _: "meddling"),
    )
    asked = narrowing._watched_ignoring(lambda _: answer, 0, watch, config, SimpleNamespace())
    assert asked(path) is answer
    config.stash = {narrowing._WATCH: watch}
    config.option = SimpleNamespace(override_ini=())
    config.hook = SimpleNamespace(
        **{hook: SimpleNamespace(get_hookimpls=tuple) for hook in narrowing._COLLECTING_HOOKS}
    )
    return narrowing.withheld(config, [CHECK], ())


@pytest.mark.parametrize("place", ["acceptance/test_node.py", "acceptance", "."])
def test_a_check_was_ignored_with_the_folder_that_it_lies_in(place: str, tmp_path: Path) -> None:
    reason = "acceptance/test_node.py was ignored by plugin meddling"
    assert noted(tmp_path, answer=True, path=tmp_path / place) == {CHECK: reason}


@pytest.mark.parametrize("place", ["acceptance/test_load.py", "accept", ".."])
def test_what_lies_elsewhere_does_not_explain_it(place: str, tmp_path: Path) -> None:
    assert "not collected" in noted(tmp_path / "root", answer=True, path=tmp_path / "root" / place)[CHECK]


def test_a_plugin_that_ignores_nothing_is_not_blamed(tmp_path: Path) -> None:
    assert "ignored" not in noted(tmp_path, answer=None, path=tmp_path / "acceptance")[CHECK]


def test_an_ignored_folder_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment beside the suite has tens of thousands of files."""
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("a folder was searched"))
    (tmp_path / ".venv").mkdir()
    assert "not collected" in noted(tmp_path, answer=True, path=tmp_path / ".venv")[CHECK]
