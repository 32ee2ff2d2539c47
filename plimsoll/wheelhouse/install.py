"""Installs the suite from a wheelhouse into an environment that sees the node's torch: what `make offline` runs.

Run by the node's own interpreter, the one that holds torch, before anything is installed: at first with the standard
library alone, then with the wheelhouse's `packaging`. The interpreter may be an environment itself, whose packages a
new one does not see unless it is told so. Nothing of the node's is replaced.
"""

from __future__ import annotations

import argparse
import os
import platform
import site
import sys
import venv
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.wheelhouse.manifest import WheelhouseManifest
from plimsoll.wheelhouse.pip import QUIET, run_or_explain

PROJECT: Final = Path(__file__).resolve().parents[2]
_SYSTEM: Final = "system.pth"
"""The file of the new environment that leads to the packages of the interpreter that made it."""


def install(wheelhouse: Path, environment: Path, project: Path = PROJECT) -> None:
    """Make the environment anew and install the project of a checkout into it.

    Raises PlimsollError, in one sentence, for an interpreter that the wheels are not for, wheels that are missing or
    damaged, packages of the node that are missing or outside the range that the project supports, and requirements
    that neither node nor wheelhouse meets.
    """
    manifest = WheelhouseManifest.read(wheelhouse)
    _refuse_interpreter(manifest)
    manifest.refuse_damage(wheelhouse)
    if find_spec("packaging") is None:
        # A wheel of plain Python is a zip file that can be imported from.
        sys.path.append(str(wheelhouse / manifest.one("packaging")))
    refuse_system(manifest, project, installed_here())
    _make(environment)
    python = environment / "bin" / "python"
    offline = ["install", *QUIET, "--no-index", "--find-links", str(wheelhouse.resolve())]
    failure = "pip cannot install from the wheelhouse"
    # The wheelhouse's pip, run out of its wheel: the node's may be missing, or older than the wheels.
    pip = f"{wheelhouse / manifest.one('pip')}/pip"
    run_or_explain([str(python), pip, *offline, "pip", "hatchling", "editables"], failure)
    own = f"{project}[{','.join(manifest.extras)}]" if manifest.extras else str(project)
    run_or_explain([str(python), "-m", "pip", *offline, "--no-build-isolation", "--editable", own], failure)
    _refuse_replaced(python, manifest)


def refuse_system(manifest: WheelhouseManifest, project: Path, installed: dict[str, str]) -> None:
    """Raise PlimsollError where a package of the node is missing or outside the supported range, or a requirement is
    met by neither node nor wheelhouse. `installed` is version by canonical name."""
    from packaging.utils import canonicalize_name

    from plimsoll.wheelhouse.needed import Target, own_requirements

    target = Target(python=manifest.python, machine=manifest.machine)
    requirements = own_requirements(project, manifest.extras, target)
    needs = {str(canonicalize_name(r.name)): r.specifier for r in requirements}
    carried = {file.distribution: file.version for file in manifest.files}
    for name in map(str, map(canonicalize_name, manifest.system)):
        have = installed.get(name)
        if have is None:
            raise PlimsollError(
                f"{sys.executable} has no {name}, which the wheelhouse leaves to the node: name the interpreter that "
                "has it (make offline PYTHON=/path/to/python3)"
            )
        if name in needs and not needs[name].contains(have, prereleases=True):
            raise PlimsollError(
                f"{sys.executable} has {name} {have}, and {name}{needs[name]} is supported: install another"
            )
    for name, need in needs.items():
        if not any(v and need.contains(v, prereleases=True) for v in (installed.get(name), carried.get(name))):
            have = f"the node has {installed[name]}" if name in installed else "the node has none"
            raise PlimsollError(
                f"{name}{need} is neither here nor in the wheelhouse ({have}): make it anew with "
                f"`make wheelhouse ALSO={name}`"
            )


def installed_here() -> dict[str, str]:
    """Version of every distribution that this interpreter sees, by canonical name; the first of two counts."""
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        if name := distribution.metadata["Name"]:
            found.setdefault(str(canonicalize_name(name)), distribution.version)
    return found


def _refuse_interpreter(manifest: WheelhouseManifest) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != manifest.python:
        raise PlimsollError(
            f"the wheelhouse is for Python {manifest.python}, and {sys.executable} is {platform.python_version()}: "
            f"name another (make offline PYTHON=python{manifest.python}), or collect for this one "
            f"(make wheelhouse PYTHON_VERSION={here})"
        )
    if platform.machine() != manifest.machine:
        raise PlimsollError(
            f"the wheelhouse is for {manifest.machine}, and this machine is {platform.machine()}: collect for it "
            f"(make wheelhouse MACHINE={platform.machine()})"
        )


def _make(environment: Path) -> None:
    """A new environment without pip, which sees what this interpreter sees."""
    venv.EnvBuilder(system_site_packages=True, clear=True, symlinks=True, with_pip=False).create(environment)
    lines = "".join(f"import site; site.addsitedir({folder!r})\n" for folder in _beyond_the_base())
    if lines:
        _packages(environment).joinpath(_SYSTEM).write_text(lines, "utf-8")


def _beyond_the_base() -> Iterator[str]:
    """Folders of packages that an environment made by this interpreter does not see on its own: those of the
    environment that the interpreter itself belongs to."""
    if sys.prefix != sys.base_prefix:
        yield from (folder for folder in site.getsitepackages([sys.prefix]) if os.path.isdir(folder))  # noqa: PTH112


def _packages(environment: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


def _refuse_replaced(python: Path, manifest: WheelhouseManifest) -> None:
    """Raise PlimsollError where the new environment would use another torch than the node's."""
    ask = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]), sep='\\n')"
    answer = run_or_explain([str(python), "-c", ask, *manifest.system], "the new environment does not see the node's")
    versions = zip(manifest.system, answer.split(), strict=True)
    unlike = [f"{name} {version}" for name, version in versions if version != metadata.version(name)]
    if unlike:
        raise PlimsollError(f"the new environment has packages of its own in place of the node's: {', '.join(unlike)}")


def main(arguments: Sequence[str]) -> int:
    """Install, and say where; 0, or 1 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="make offline", description=__doc__)
    parser.add_argument("wheelhouse", type=Path)
    parser.add_argument("environment", type=Path)
    options = parser.parse_args(arguments)
    try:
        install(options.wheelhouse, options.environment)
    except PlimsollError as error:
        sys.stderr.write(f"plimsoll: {error}\n")
        return 1
    print(f"installed into {options.environment}, beside what {sys.executable} has")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
