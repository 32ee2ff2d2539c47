"""Paths as users write them, and who has no home at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError, PlimsollError
from plimsoll.node.storage import hub_cache
from plimsoll.plan.cells import is_of_the_suite
from plimsoll.redaction import Redactor
from plimsoll.tiny.store import cache_folder
from plimsoll.userpath import path_for_others, path_from, resolved

NOBODY = 2**31 - 2
"""The number of a user that no machine knows, as a container may give to a process."""


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pytest asks whose tmp_path is, so it is first
    for name in ("HOME", "PLIMSOLL_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)


@pytest.mark.usefixtures("homeless")
def test_who_has_no_home_is_told_what_to_set() -> None:
    with pytest.raises(PlimsollError) as caught:
        cache_folder()
    assert str(caught.value) == (
        f"user {NOBODY} has no home folder here: HOME is not set, and the system does not know that user; "
        "set PLIMSOLL_CACHE to a folder that can be written, or HOME"
    )


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_hub_keeps_weights_where_huggingface_hub_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_cache() == Path("~/.cache/huggingface/hub").absolute()
    assert Redactor.from_environment({})("nothing to hide") == "nothing to hide"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~/x", "/home/me/x"),
        ("$SCRATCH/x", "/scratch/x"),
        ("${SCRATCH}/x", "/scratch/x"),
        ("$NOT_THERE/x", "$NOT_THERE/x"),
        ("~nobody-has-this-home/x", "~nobody-has-this-home/x"),
    ],
)
def test_paths_of_other_programs_are_read_as_they_read_them(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    assert str(path_for_others(text)) == expected


def test_a_path_behind_an_equals_sign_may_start_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert path_from(Path("/here"), "~/x") == Path("/home/me/x")
    assert path_from(Path("/here"), "x") == Path("/here/x")


def test_a_loop_of_links_is_a_path_that_leads_to_nothing(tmp_path: Path) -> None:
    """Not a traceback: its status would read as that of a rejection."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.symlink_to(two)
    two.symlink_to(one)
    assert resolved(one / "model") in (one / "model", two / "model")
    assert not is_of_the_suite([str(one)], Path(__file__).parents[2], tmp_path)
    with pytest.raises(CatalogueError, match="one: cannot be read: Too many levels of symbolic links"):
        read_catalogue([one])
