"""Collects a wheelhouse where there is a network: what `make wheelhouse` runs.

Wheels alone are taken, for the node's Python and processor whatever run here, with what builds the suite itself and the
suite as an archive. The folder appears when all of it is there, and replaces an older one.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from plimsoll.errors import PlimsollError
from plimsoll.wheelhouse.manifest import Carried, WheelhouseManifest, sha256
from plimsoll.wheelhouse.needed import Target, needed
from plimsoll.wheelhouse.pip import QUIET, run_or_explain

PROJECT: Final = Path(__file__).resolve().parents[2]
SYSTEM: Final = ("torch", "transformers", "accelerate")
EXTRAS: Final = ("suite", "models")
MOST_MB: Final = 60
"""What a wheelhouse may weigh: what fits through a mail gateway or on any stick, and leaves room beside the suite where
a machine that is borrowed takes 64 MiB in all."""
_BUILD: Final = ("hatchling", "editables", "pip")
"""What installs the suite from its folder: the node's own pip may be missing, or older than the wheels."""
_OLDEST_GLIBC: Final = 5
"""manylinux names the minor version of glibc 2; 2.5 is manylinux1."""


def collect(
    folder: Path,
    target: Target,
    *,
    system: Sequence[str] = SYSTEM,
    extras: Sequence[str] = EXTRAS,
    also: Sequence[str] = (),
    glibc: int = 28,
    most_mb: float = MOST_MB,
) -> WheelhouseManifest:
    """Fill a folder with what the project needs on the target beside `system`; `glibc` is the minor version of the
    node's glibc 2.

    Raises PlimsollError where a wheel cannot be had, or all together are more than `most_mb` megabytes.
    """
    pins = needed(PROJECT, system, extras, target, also)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        fetch([f"{name}=={version}" for name, version in pins.items()], part, target, glibc, alone=True)
        fetch(_BUILD, part, target, glibc)
        suite = _archive(part)
        manifest = WheelhouseManifest(
            python=target.python,
            machine=target.machine,
            system=tuple(system),
            extras=tuple(extras),
            suite=suite,
            files=tuple(map(_carried, sorted(part.iterdir()))),
        )
        refuse_weight(manifest, most_mb)
        manifest.write(part)
        part.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def fetch(requirements: Sequence[str], folder: Path, target: Target, glibc: int, *, alone: bool = False) -> None:
    """Download wheels for the target, with what they require unless they are to come alone. Raises PlimsollError."""
    arguments = ["--python-version", target.python, "--implementation", "cp", *_platforms(target.machine, glibc)]
    if alone:
        arguments.append("--no-deps")
    else:
        arguments += ["--constraint", str(PROJECT / "constraints.txt"), "--find-links", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *QUIET, "--only-binary=:all:", *arguments]
    run_or_explain(
        [*command, "--dest", str(folder), *requirements], f"no wheel for Python {target.python} on {target.machine}"
    )


def _platforms(machine: str, glibc: int) -> Iterator[str]:
    """Every name of a platform whose wheels run there: pip takes each by its exact name."""
    named = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
    for minor in range(glibc, _OLDEST_GLIBC - 1, -1):
        yield from ("--platform", f"manylinux_2_{minor}_{machine}")
        if minor in named:
            yield from ("--platform", f"{named[minor]}_{machine}")


def _archive(folder: Path) -> str:
    """The suite as it is in this checkout, in the folder; the file's name."""
    with tempfile.TemporaryDirectory() as site:
        # From the wheels that the node will install with.
        install = [sys.executable, "-m", "pip", "install", *QUIET, "--no-index", "--find-links", str(folder)]
        run_or_explain([*install, "--target", site, "hatchling"], "hatchling cannot be unpacked")
        build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
        run_or_explain(build, "the suite cannot be archived", cwd=PROJECT, environment={"PYTHONPATH": site})
    (made,) = (path.name for path in folder.glob("*.tar.gz"))
    return made


def _carried(path: Path) -> Carried:
    try:
        if path.suffix == ".whl":
            name, version, _, _ = parse_wheel_filename(path.name)
        else:
            name, version = parse_sdist_filename(path.name)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise PlimsollError(f"pip left a file that is no wheel: {error}") from None
    return Carried(
        file=path.name,
        distribution=str(name),
        version=str(version),
        bytes=path.stat().st_size,
        sha256=sha256(path),
    )


def refuse_weight(manifest: WheelhouseManifest, most_mb: float) -> None:
    """Raise PlimsollError, with what weighs most, where all together are more than so many megabytes."""
    if manifest.bytes <= most_mb * 1e6:
        return
    largest = sorted(manifest.files, key=lambda file: -file.bytes)[:3]
    named = ", ".join(f"{file.distribution} {file.bytes / 1e6:.1f}" for file in largest)
    raise PlimsollError(
        f"the wheelhouse would take {manifest.bytes / 1e6:.1f} MB, more than {most_mb:g}; the largest are {named}: "
        "name with SYSTEM what the node has, or allow more with MOST_MB"
    )


def described(manifest: WheelhouseManifest, folder: Path) -> str:
    """What was collected, for the terminal."""
    largest = max(manifest.files, key=lambda file: file.bytes)
    return (
        f"{folder}: {len(manifest.files)} files, {manifest.bytes / 1e6:.1f} MB, for Python {manifest.python} on "
        f"{manifest.machine} beside {', '.join(manifest.system)}; the largest is {largest.distribution} "
        f"{largest.version}, {largest.bytes / 1e6:.1f} MB"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make wheelhouse", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python-version", default="3.12", metavar="X.Y", help="of the node (default: 3.12)")
    parser.add_argument("--machine", default=platform.machine(), help="the node's processor (default: this one's)")
    parser.add_argument("--glibc", type=int, default=28, metavar="N", help="the node's glibc is 2.N (default: 28)")
    parser.add_argument("--system", default=" ".join(SYSTEM), metavar="NAMES", help="what the node has")
    parser.add_argument("--extras", default=" ".join(EXTRAS), metavar="NAMES", help="groups of pyproject.toml")
    parser.add_argument("--also", default="", metavar="NAMES", help="carry these though the node should have them")
    parser.add_argument("--most-mb", type=float, default=MOST_MB, metavar="MB", help=f"default: {MOST_MB}")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Collect, and say what was collected; 0, or 1 where something cannot be had."""
    options = _parser().parse_args(arguments)
    try:
        manifest = collect(
            options.folder,
            Target(python=options.python_version, machine=options.machine),
            system=options.system.split(),
            extras=options.extras.split(),
            also=options.also.split(),
            glibc=options.glibc,
            most_mb=options.most_mb,
        )
    except PlimsollError as error:
        sys.stderr.write(f"plimsoll: {error}\n")
        return 1
    print(described(manifest, options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
