"""What the suite needs on a node beside the packages that the node has.

The requirements of pyproject.toml are followed through the metadata of what is installed here, with their markers read
for the node's Python. What the node's own packages themselves require is there with them and is left out; what those
require in turn is carried, for that differs from version to version: one huggingface_hub brings pydantic along, and
another does not. A wheel that is carried in vain does no harm, because pip keeps what the node has and may stay.
Versions are those of constraints.txt: for what is carried they are exact, and of what the node has they ask nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from plimsoll.errors import PlimsollError
from plimsoll.extras import DISTRIBUTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The node that is collected for."""

    python: str
    """Its minor version, `3.12`."""
    machine: str

    @property
    def environment(self) -> dict[str, str]:
        """What the markers of requirements are read with."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


@dataclass(slots=True)
class _Closure:
    """All distributions that a set of requirements needs, by canonical name."""

    target: Target
    here: frozenset[str]
    """What the node has: neither wanted nor followed."""
    found: set[str] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def follow(self, requirements: Iterable[Requirement], why: str) -> None:
        for requirement in requirements:
            name = str(canonicalize_name(requirement.name))
            if name in self.here:
                continue
            self.found.add(name)
            for extra in ("", *sorted(requirement.extras)):
                if (name, extra) not in self.seen:
                    self.seen.add((name, extra))
                    self.follow(_required(name, self.target, extra, why), name)


def needed(
    project: Path, system: Sequence[str], extras: Sequence[str], target: Target, also: Sequence[str] = ()
) -> dict[str, str]:
    """Canonical name -> version of every distribution that is to be carried for the project in a folder.

    `system` is what the node has; what is in `also` is carried though it comes with that. Raises PlimsollError for an
    extra that there is not, a name that is no package, and what is not installed here or not pinned in constraints.txt.
    """
    own = own_requirements(project, extras, target)
    more = {str(canonicalize_name(_named(name).name)) for name in also}
    wanted = _Closure(target=target, here=frozenset(_there(system, target)) - more)
    wanted.follow([*own, *map(_named, also)], "the suite")
    pins = pinned(project / "constraints.txt")
    if unpinned := sorted(wanted.found - pins.keys()):
        raise PlimsollError(f"constraints.txt has no version for {', '.join(unpinned)}; add it there")
    return {name: pins[name] for name in sorted(wanted.found)}


def _there(system: Sequence[str], target: Target) -> Iterator[str]:
    """The node's own packages and their direct requirements, by canonical name."""
    for requirement in map(_named, system):
        yield str(canonicalize_name(requirement.name))
        for brought in _required(requirement.name, target, "", "the node"):
            yield str(canonicalize_name(brought.name))


def _required(name: str, target: Target, extra: str, why: str) -> Iterator[Requirement]:
    try:
        lines = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        raise PlimsollError(
            f"{why} needs {name} on Python {target.python}, and what that needs is not known, because it is not "
            f"installed here: collect in the environment of `make setup PYTHON=python{target.python}`"
        ) from None
    return applicable(map(Requirement, lines), target, extra)


def own_requirements(project: Path, extras: Sequence[str], target: Target) -> list[Requirement]:
    """What pyproject.toml asks for with these extras, those that they name in turn included. Raises PlimsollError for
    an unknown extra."""
    data = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    groups: Mapping[str, list[str]] = {"": data["dependencies"], **data["optional-dependencies"]}
    found: list[Requirement] = []
    left, done = ["", *extras], set[str]()
    while left:
        extra = left.pop(0)
        if extra not in groups:
            raise PlimsollError(f"pyproject.toml has no extra {extra!r}; there are {', '.join(sorted(groups)[1:])}")
        done.add(extra)
        for requirement in applicable(map(Requirement, groups[extra]), target, extra):
            if canonicalize_name(requirement.name) == DISTRIBUTION:
                left += sorted(requirement.extras - done - set(left))
            else:
                found.append(requirement)
    return found


def applicable(requirements: Iterable[Requirement], target: Target, extra: str = "") -> Iterator[Requirement]:
    """Those whose markers are true on the target; with an extra, those that it alone brings."""
    for requirement in requirements:
        environment = target.environment | {"extra": extra}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement


def pinned(constraints: Path) -> dict[str, str]:
    """Canonical name -> version, of the lines that give one."""
    lines = (line.partition("#")[0].strip() for line in constraints.read_text("utf-8").splitlines())
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {str(canonicalize_name(name)): version for name, _, version in pairs}


def _named(name: str) -> Requirement:
    try:
        return Requirement(name)
    except InvalidRequirement:
        raise PlimsollError(f"{name!r} is no name of a package; name what the node has: SYSTEM='torch ...'") from None
