"""Where the suite lies, and what `plimsoll run` makes of a command line."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from plimsoll.cli import main
from plimsoll.commands.run import pytest_arguments
from plimsoll.suite import PACKAGE, PYTEST, RUN, SHIPPED, asked_paths, called_with, command, suite_root, telling


def test_a_warning_fails_a_test_of_the_suites_own() -> None:
    """Unlike a check: warnings of a node's own plugins and libraries say nothing of the node."""
    with pytest.raises(UserWarning, match="something is old"):
        warnings.warn("something is old", UserWarning, stacklevel=1)


def test_a_checkout_has_its_suite_beside_the_library() -> None:
    assert suite_root() == PACKAGE.parent


@pytest.mark.parametrize(
    ("given", "here_has", "expected"),
    [
        ((), (), ["ROOT/acceptance"]),
        (("acceptance/test_load.py::test_x",), (), ["ROOT/acceptance/test_load.py::test_x"]),
        (("acceptance/test_own.py",), ("acceptance/test_own.py",), ["acceptance/test_own.py"]),
        (("acceptance/test_load.py",), ("acceptance/test_load.py",), ["ROOT/acceptance/test_load.py"]),
        (("./acceptance/test_load.py",), ("acceptance/test_load.py",), ["./acceptance/test_load.py"]),
        (("acceptances", "own/test_x.py"), ("own/test_x.py",), ["acceptances", "own/test_x.py"]),
        (("acceptance/test_lod.py",), (), ["ROOT/acceptance/test_lod.py"]),
    ],
)
def test_all_checks_are_meant_where_no_file_is_named(
    tmp_path: Path, given: tuple[str, ...], here_has: tuple[str, ...], expected: list[str]
) -> None:
    root, here = tmp_path / "a suite", tmp_path / "here"
    for path in (root / "acceptance/test_load.py", *(here / name for name in here_has)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = asked_paths([*given, str(root / "acceptance")], root, here)
    assert found == [one.replace("ROOT", str(root)) for one in expected]


def test_in_a_checkout_paths_are_pytests() -> None:
    assert asked_paths(["acceptance/test_load.py"], PACKAGE.parent, PACKAGE.parent) == ["acceptance/test_load.py"]


@pytest.mark.parametrize("given", [(), ("-k", "acceptance"), ("--deselect", "acceptance/test_load.py::test_x")])
def test_pytest_tells_paths_from_values_of_options(tmp_path: Path, given: tuple[str, ...]) -> None:
    found = pytest_arguments(given, tmp_path, Path("/here"))
    assert found[:3] == ["-c", str(tmp_path / "pyproject.toml"), f"--rootdir={tmp_path}"]
    assert found[3:] == [*given, str(tmp_path / "acceptance")]


def test_an_installed_suite_leaves_nothing_in_the_installation(tmp_path: Path) -> None:
    found = pytest_arguments((), SHIPPED, tmp_path)
    assert f"plimsoll_reports={tmp_path / 'reports'}" in found
    assert f"cache_dir={tmp_path / '.pytest_cache'}" in found


def test_what_a_person_typed_is_told() -> None:
    assert called_with(("-m", "tiny"), {}) == (PYTEST, ("-m", "tiny"))
    told = telling(["-m", "tiny and nf4"], {"HOME": "/x"})
    assert called_with(("-c", "/far/pyproject.toml"), told) == (RUN, ("-m", "tiny and nf4"))
    assert command(*called_with((), told)[:1], *called_with((), told)[1]) == "plimsoll run -m 'tiny and nf4'"
    assert told["HOME"] == "/x"


def test_what_a_run_starts_has_a_command_of_its_own() -> None:
    told = telling(["-m", "tiny"], {})
    ours = str(os.getpid())
    assert called_with(("-q",), {name: value.replace(ours, "1") for name, value in told.items()}) == (PYTEST, ("-q",))


def test_an_installation_without_the_suite_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plimsoll.commands.run.suite_root", lambda: None)
    assert main(["run", "-m", "tiny"]) == 2
    assert capsys.readouterr().err == (
        "plimsoll: error: the suite is not in this installation; install plimsoll again\n"
    )


@pytest.mark.parametrize("nonsense", ["", "[", "3", '"x"', '["-q"]', '{"pid": OURS}'])
def test_a_variable_of_another_kind_is_no_command(nonsense: str) -> None:
    # The names of tests must be the same in all workers.
    nonsense = nonsense.replace("OURS", str(os.getpid()))
    assert called_with(("-m", "tiny"), {"PLIMSOLL_RUN": nonsense}) == (PYTEST, ("-m", "tiny"))


def test_help_of_the_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    assert "plimsoll run -m gpu8b -n auto" in capsys.readouterr().out
