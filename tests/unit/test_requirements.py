"""What the code imports is declared, and what is declared is pinned: a fresh environment lacks nothing."""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = {"plimsoll", "fixtures", "acceptance", "tests", "benchmarks", "conftest"}
# Parts of what is declared, which pins them itself: they are no requirement of their own.
PART_OF = {"pydantic_core": "pydantic", "pytest_metadata": "pytest-html"}
# A driver's own module, which comes with it and is no package to install beside.
OF_A_DRIVER = {"amdsmi"}
# torch takes the one that the environment was made with.
UNPINNED = {"setuptools"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@cache
def third_party_imports() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in ("plimsoll", "fixtures", "acceptance", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module]
                    if isinstance(node, ast.ImportFrom) and node.module
                    else []
                )
                for name in names:
                    found.setdefault(name.split(".")[0], path)
    return {name: path for name, path in found.items() if name not in OURS | OF_A_DRIVER | set(sys.stdlib_module_names)}


def declared() -> Iterator[Requirement]:
    for line in PROJECT["dependencies"]:
        yield Requirement(line)
    for lines in PROJECT["optional-dependencies"].values():
        for line in lines:
            yield Requirement(line)


def needed(extra: str) -> list[Requirement]:
    """The dependencies with those of an extra, which may name other extras of ours."""
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    for one in map(Requirement, PROJECT["optional-dependencies"][extra]):
        found += [more for inner in one.extras for more in needed(inner)] if one.name == PROJECT["name"] else [one]
    return found


def closure() -> set[str]:
    """Everything that `pip install '.[dev]'` brings to this machine, by the metadata of what is installed.

    The other extras are not in `dev`, so that nobody has to install them to work on the suite.
    """
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(one.name), extra) for one in needed("dev") for extra in ("", *one.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in requires(name) or ():
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(one.name), inner) for inner in ("", *one.extras)]
    return {name for name, _ in seen} - {PROJECT["name"]}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


@cache
def locked() -> list[dict[str, Any]]:
    """The packages of uv.lock."""
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return found


@cache
def providers_here() -> Mapping[str, list[str]]:
    return packages_distributions()


@pytest.mark.parametrize("name", sorted(third_party_imports()))
def test_what_is_imported_is_declared(name: str) -> None:
    # What is not installed here, because it is an extra of its own, goes by its name.
    known = providers_here().get(name) or [name]
    providers = {canonicalize_name(one) for one in known} | {PART_OF.get(name, "")}
    assert providers & {canonicalize_name(one.name) for one in declared()}, (
        f"{third_party_imports()[name].relative_to(ROOT)} imports {name}, of {providers or 'nothing installed'}, which "
        "pyproject.toml does not declare"
    )


def test_what_is_declared_is_pinned() -> None:
    assert sorted(closure() - set(pins()) - UNPINNED) == []


def test_what_is_pinned_is_needed() -> None:
    # Also by an extra that `dev` leaves out, as LoRA's: the version that it was tried with is pinned all the same.
    named = {canonicalize_name(one.name) for one in declared()}
    assert sorted(set(pins()) - closure() - named) == []


RENEW = "uv lock; or for one package: uv lock --upgrade-package NAME==VERSION"


def test_the_lock_of_uv_has_the_pinned_versions() -> None:
    found: dict[str, set[str]] = {}
    for one in locked():
        if one["name"] != PROJECT["name"]:
            found.setdefault(one["name"], set()).add(one["version"])
    assert {name: versions for name, versions in found.items() if name in pins() and versions != {pins()[name]}} == {}
    assert sorted(closure() - set(found)) == [], RENEW


def test_the_lock_of_uv_is_of_what_is_declared() -> None:
    (ours,) = [one for one in locked() if one["name"] == PROJECT["name"]]

    def told(one: dict[str, Any]) -> tuple[str, frozenset[str], str, str]:
        return one["name"], frozenset(one.get("extras", ())), one.get("specifier", ""), one.get("marker", "")

    base = list(map(Requirement, PROJECT["dependencies"]))
    # Extras of ours within extras are told as what they bring.
    extras = {extra: set(needed(extra)) - set(base) for extra in PROJECT["optional-dependencies"]}
    expected = {
        (canonicalize_name(one.name), frozenset(one.extras), str(one.specifier), marker)
        for marker, lines in (("", base), *((f"extra == '{extra}'", lines) for extra, lines in extras.items()))
        for one in lines
    }
    found = {
        (name, extras, str(SpecifierSet(text)), marker)
        for name, extras, text, marker in map(told, ours["metadata"]["requires-dist"])
    }
    assert found == expected, RENEW


def test_the_lock_of_uv_names_the_public_index_alone() -> None:
    sources = {one["source"].get("registry") for one in locked() if one["name"] != PROJECT["name"]}
    files = [file for one in locked() for file in (*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else []))]
    assert all(file["hash"].startswith("sha256:") for file in files)
