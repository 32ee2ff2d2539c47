"""An import that is put off until what it brings is called, or anything else of the module is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.host.server.putting_off import imported_when_called

PACKAGE = "heavy_package_of_a_test"
MODULE = f"{PACKAGE}.optimize"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a module that is not imported yet."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "optimize.py").write_text("def assign(a, b): return a - b\ndef minimize(): return 'least'\n")
    (folder / "user.py").write_text(f"from {MODULE} import assign\n")
    (folder / "other.py").write_text(f"from {MODULE} import assign, minimize\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_the_module_is_imported_at_the_call_and_not_before() -> None:
    with imported_when_called(MODULE, "assign"):
        user = importlib.import_module(f"{PACKAGE}.user")
    assert MODULE not in sys.modules
    assert user.assign(7, b=4) == 3
    assert sys.modules[MODULE].minimize() == "least"


def test_it_may_be_called_meanwhile() -> None:
    with imported_when_called(MODULE, "assign"):
        assert importlib.import_module(f"{PACKAGE}.user").assign(7, 4) == 3
        assert sys.modules[MODULE].minimize() == "least"
    assert sys.modules[MODULE].assign(1, 1) == 0


def test_whoever_asks_for_anything_else_has_the_module() -> None:
    with imported_when_called(MODULE, "assign"):
        other = importlib.import_module(f"{PACKAGE}.other")
        assert other.minimize() == "least"
        assert other.assign(7, 4) == 3
    assert sys.modules[MODULE].__file__ is not None


def test_a_module_that_is_there_already_is_left_alone() -> None:
    there = importlib.import_module(MODULE)
    with imported_when_called(MODULE, "assign"):
        assert importlib.import_module(f"{PACKAGE}.user").assign is there.assign
    assert sys.modules[MODULE] is there


def test_a_package_that_is_not_installed_stays_so() -> None:
    with imported_when_called("no_such_package.optimize", "assign"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_package.optimize")


def test_a_module_that_is_broken_says_so_where_it_is_called(package: Path) -> None:
    (package / "optimize.py").write_text("raise ImportError('libopenblas.so.0: no such file')")
    with imported_when_called(MODULE, "assign"):
        user = importlib.import_module(f"{PACKAGE}.user")
    with pytest.raises(ImportError, match="libopenblas"):
        user.assign(1, 2)
