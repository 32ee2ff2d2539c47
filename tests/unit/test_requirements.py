"""What the code imports is declared, and what is declared is pinned: a fresh environment lacks nothing."""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.sources import ROOT, modules, source_of

OURS = {"plimsoll", "fixtures", "acceptance", "tests", "benchmarks", "conftest"}
# Parts of what is declared, which pins them itself: they are no requirement of their own.
PART_OF = {
    "pydantic_core": "pydantic",
    "pytest_metadata": "pytest-html",
    "cpuinfo": "pytest-benchmark",
    "execnet": "pytest-xdist",
}
# A driver's own module, which comes with it and is no package to install beside.
OF_A_DRIVER = {"amdsmi"}
# torch takes the one that the environment was made with.
UNPINNED = {"setuptools"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def third_party_imports() -> dict[str, Path]:
    """Package -> a module that imports it."""
    found: dict[str, Path] = {}
    for folder in ("plimsoll", "fixtures", "acceptance", "tests", "benchmarks"):
        for path in modules(folder):
            for name in source_of(path).imports:
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
def locked() -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Package of requirements.lock -> its version, and the digests of its files."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for entry in (ROOT / "requirements.lock").read_text().replace("\\\n", "").splitlines():
        requirement, *hashes = entry.split(" --hash=")
        one = Requirement(requirement.strip())
        (version,) = (each.version for each in one.specifier)
        assert one.name not in found, f"{one.name} is locked twice"
        found[canonicalize_name(one.name)] = version, tuple(each.strip() for each in hashes)
    return found


@cache
def providers_here() -> Mapping[str, list[str]]:
    return packages_distributions()


def test_what_is_imported_is_declared() -> None:
    imports = third_party_imports()
    assert imports.keys() >= {"pytest", "torch", "pydantic"}, "the imports were not found"
    known = {canonicalize_name(one.name) for one in declared()}
    undeclared = {
        name: str(path.relative_to(ROOT)) for name, path in imports.items() if not _distributions_of(name) & known
    }
    assert undeclared == {}, "what these modules import is of no package that pyproject.toml declares"


def _distributions_of(name: str) -> set[str]:
    # What is not installed here, because it is an extra of its own, goes by its name.
    found: set[str] = {canonicalize_name(one) for one in providers_here().get(name) or [name]}
    return found | {PART_OF[name]} if name in PART_OF else found


def test_what_is_declared_is_pinned() -> None:
    assert sorted(closure() - set(pins()) - UNPINNED) == []


def test_what_is_pinned_is_needed() -> None:
    # Also by an extra that `dev` leaves out, as LoRA's: the version that it was tried with is pinned all the same.
    named = {canonicalize_name(one.name) for one in declared()}
    assert sorted(set(pins()) - closure() - named) == []


RENEW = "make lock"


def test_the_lock_has_the_pinned_versions_and_nothing_else_is_missing() -> None:
    versions = {name: version for name, (version, _) in locked().items()}
    assert {name: version for name, version in versions.items() if pins().get(name, version) != version} == {}, RENEW
    assert sorted(closure() - set(versions)) == [], RENEW


def test_the_lock_keeps_to_what_is_declared() -> None:
    beyond = [
        f"{one.name}=={locked()[canonicalize_name(one.name)][0]} is not {one.specifier}"
        for one in declared()
        if canonicalize_name(one.name) != PROJECT["name"]
        and not one.specifier.contains(locked()[canonicalize_name(one.name)][0], prereleases=True)
    ]
    assert beyond == [], RENEW


def test_the_lock_has_digests_and_names_no_place_to_load_from() -> None:
    """Whoever installs from a mirror or a folder gets the same files, and says where from."""
    assert [name for name, (_, digests) in locked().items() if not digests] == []
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for _, digests in locked().values() for one in digests)
    assert "://" not in (ROOT / "requirements.lock").read_text()
