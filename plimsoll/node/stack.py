"""Reads the software stack, and compares it with the versions that the project supports.

The supported ranges are the requirements in pyproject.toml. An installed plimsoll has them in its metadata; in a
checkout that was not installed the file itself is read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

import plimsoll
from plimsoll.errors import PlimsollError
from plimsoll.extras import DISTRIBUTION
from plimsoll.node.node import Node

EXTRAS: Final = ("suite", "models")
"""The optional groups of pyproject.toml that a run of the suite needs."""

RECORDED: Final = (
    *("torch", "transformers", "accelerate", "bitsandbytes", "huggingface_hub", "safetensors", "tokenizers"),
    *("pytest", "pytest-xdist", "pytest-benchmark", "pytest-html"),
    *("nvidia-ml-py", "psutil", "plimsoll"),
    # Needed by the attention or the tokenizer of some entries.
    *("flash-attn", "sentencepiece"),
)
"""Distributions whose versions go to evidence, besides those that the requirements name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFault:
    """A package that is missing or outside the supported range."""

    package: str
    have: str | None
    """The installed version; None where it is not installed."""
    need: str
    """The supported range, `>=5.0,<6`; empty for any version."""

    @property
    def requirement(self) -> str:
        """Name and range as pip takes them."""
        return f"{self.package}{self.need}"

    @property
    def fix(self) -> str:
        """The command that fixes it."""
        if self.package == "python":
            return f"make the environment anew with Python {self.need}"
        return f"pip install '{self.requirement}'"

    def __str__(self) -> str:
        have = f"{self.package} {self.have}" if self.have else f"{self.package} is not installed"
        return f"{have}, needs {self.requirement}; fix: {self.fix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Supported:
    """The requirements that the project declares: distributions by canonical name, and Python."""

    packages: dict[str, Requirement]
    python: str


def installed_packages() -> dict[str, str | None]:
    """The installed version of every distribution that is recorded; None where it is not installed."""
    names = dict.fromkeys((*RECORDED, *(r.name for r in _supported().packages.values())))
    known = {canonicalize_name(name): name for name in reversed(names)}
    versions = {name: _installed(name) for name in sorted(known.values(), key=str.lower)}
    # In a checkout that was not installed, the version is the source's own.
    return {**versions, "plimsoll": _installed(DISTRIBUTION) or plimsoll.__version__}


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch was built for, `13.0`; None where it was built without CUDA, is not
    installed, or does not say. Read from torch's own file, because importing torch takes seconds and memory."""
    try:
        text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text("utf-8")
    except (metadata.PackageNotFoundError, OSError, UnicodeDecodeError):
        return None
    found = _TORCH_CUDA.search(text)
    return found[1] if found else None


_TORCH_CUDA: Final = re.compile(r"^cuda\b[^=\n]*=\s*['\"](\d+\.\d+)['\"]", re.MULTILINE)


def everything_installed() -> dict[str, str]:
    """The version of every installed distribution, by canonical name in alphabetical order: what a sign-off locks."""
    names = (_name_and_version(distribution) for distribution in metadata.distributions())
    # The leftover folder of a removed distribution has no name.
    return dict(sorted((str(canonicalize_name(name)), version) for name, version in names if name))


_NAME_LINE: Final = re.compile(r"^Name:[ \t]*(\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_VERSION_LINE: Final = re.compile(r"^Version:[ \t]*(\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """Two lines of the head of its metadata: parsing whole files, with the README of each package in it, takes a
    twentieth of every run of few checks. What does not say them plainly is parsed."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = text.partition("\n\n")[0]
    name, version = _NAME_LINE.search(head), _VERSION_LINE.search(head)
    if name and version:
        return name[1], version[1]
    return distribution.metadata["Name"], distribution.version


def check_stack(node: Node) -> tuple[StackFault, ...]:
    """Every package of the suite that is missing on the node or outside its supported range, and Python itself.

    Raises PlimsollError where the supported ranges cannot be read.
    """
    return check_packages(node, _supported().packages, python=True)


def check_packages(node: Node, names: Iterable[str], *, python: bool = False) -> tuple[StackFault, ...]:
    """The faults of these packages; a package without a declared range may have any version."""
    supported = _supported()
    versions = {canonicalize_name(name): version for name, version in node.packages.items()}
    faults = []
    for name in names:
        requirement = supported.packages.get(canonicalize_name(name))
        need = requirement.specifier if requirement else SpecifierSet()
        have = versions.get(canonicalize_name(name))
        if not _inside(have, need):
            faults.append(StackFault(package=name, have=have, need=str(need)))
    if python and not _inside(node.python, SpecifierSet(supported.python)):
        faults.append(StackFault(package="python", have=node.python, need=supported.python))
    return tuple(faults)


def _inside(have: str | None, need: SpecifierSet) -> bool:
    """True for a version in the range: an unreadable version is outside, a pre-release of a supported version
    inside."""
    try:
        return have is not None and need.contains(Version(have), prereleases=True)
    except InvalidVersion:
        return False


def _installed(name: str) -> str | None:
    try:
        return _name_and_version(metadata.distribution(name))[1]
    except metadata.PackageNotFoundError:
        return None


@cache
def _supported() -> _Supported:
    try:
        declared = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return _from_checkout(Path(plimsoll.__file__).parents[1] / "pyproject.toml")
    requirements = [Requirement(line) for line in declared.get_all("Requires-Dist") or ()]
    wanted = [
        r for r in requirements if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in ("", *EXTRAS))
    ]
    return _Supported(packages=_by_name(wanted), python=str(declared["Requires-Python"] or ""))


def _from_checkout(path: Path) -> _Supported:
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    except FileNotFoundError:
        raise PlimsollError(
            f"plimsoll is not installed and {path} is missing, so the supported versions are unknown; "
            "install it, or run it from its checkout"
        ) from None
    lines = [*project["dependencies"], *(line for e in EXTRAS for line in project["optional-dependencies"][e])]
    requirements = [Requirement(line) for line in lines]
    wanted = [r for r in requirements if r.marker is None or r.marker.evaluate()]
    return _Supported(packages=_by_name(wanted), python=project["requires-python"])


def _by_name(requirements: Iterable[Requirement]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in requirements if canonicalize_name(r.name) != DISTRIBUTION}
