"""Where the suite lies, and what `plimsoll run` makes of a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.cli import main
from plimsoll.commands.run import pytest_arguments
from plimsoll.suite import PACKAGE, PYTEST, RUN, SHIPPED, called_with, command, suite_root, telling


def test_a_checkout_has_its_suite_beside_the_library() -> None:
    assert suite_root() == PACKAGE.parent


@pytest.mark.parametrize(
    ("given", "here_has", "expected"),
    [
        ((), (), ["ROOT/acceptance"]),
        (("-m", "tiny"), (), ["-m", "tiny", "ROOT/acceptance"]),
        (("acceptance/test_load.py::test_x",), (), ["ROOT/acceptance/test_load.py::test_x"]),
        (("acceptance",), ("acceptance",), ["acceptance"]),
    ],
)
def test_all_checks_are_meant_where_no_file_is_named(
    tmp_path: Path, given: tuple[str, ...], here_has: tuple[str, ...], expected: list[str]
) -> None:
    root, here = tmp_path / "suite", tmp_path / "here"
    for name in here_has:
        (here / name).mkdir(parents=True)
    found = pytest_arguments(given, root, here)
    assert found[:3] == ["-c", str(root / "pyproject.toml"), f"--rootdir={root}"]
    assert found[3:] == [one.replace("ROOT", str(root)) for one in expected]


def test_an_installed_suite_leaves_nothing_in_the_installation(tmp_path: Path) -> None:
    found = pytest_arguments((), SHIPPED, tmp_path)
    assert f"--report-dir={tmp_path / 'reports'}" in found
    assert f"cache_dir={tmp_path / '.pytest_cache'}" in found


def test_a_report_folder_of_the_person_comes_last() -> None:
    found = pytest_arguments(("--report-dir=mine",), SHIPPED, Path("/here"))
    assert [one for one in found if one.startswith("--report-dir=")][-1] == "--report-dir=mine"


def test_what_a_person_typed_is_told() -> None:
    assert called_with(("-m", "tiny"), {}) == (PYTEST, ("-m", "tiny"))
    told = telling(["-m", "tiny and nf4"], {"HOME": "/x"})
    assert called_with(("-c", "/far/pyproject.toml"), told) == (RUN, ("-m", "tiny and nf4"))
    assert command(*called_with((), told)[:1], *called_with((), told)[1]) == "plimsoll run -m 'tiny and nf4'"
    assert told["HOME"] == "/x"


def test_an_installation_without_the_suite_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plimsoll.commands.run.suite_root", lambda: None)
    assert main(["run", "-m", "tiny"]) == 2
    assert capsys.readouterr().err == (
        "plimsoll: error: the suite is not in this installation; install plimsoll again\n"
    )


@pytest.mark.parametrize("nonsense", ["", "[", "3", '"x"'])
def test_a_variable_of_another_kind_is_no_command(nonsense: str) -> None:
    assert called_with(("-m", "tiny"), {"PLIMSOLL_RUN": nonsense}) == (PYTEST, ("-m", "tiny"))


def test_help_of_the_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    assert "plimsoll run -m gpu8b -n auto" in capsys.readouterr().out
